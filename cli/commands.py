"""Every noun of ``citycard`` and where it lives: one is imported when it is used, none for ``--help``."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Noun:
    """A command: `module` of this package, `name` in it (a Typer app or a function), one line of help."""

    module: str
    name: str
    help: str


NOUNS = {
    "demo": Noun("demo", "demo", "Make, pay with, clear and prove a small city's cards. 一条命令跑完全程。"),
    "serve": Noun("serve", "serve", "Show a run in a browser. 在浏览器中查看。"),
    "doctor": Noun("doctor", "doctor", "Say what is missing on this machine. 检查本机。"),
    "explain": Noun("explain", "app", "Say what bytes mean, field by field. 逐字段解释报文。"),
    "card": Noun("card_trace", "app", "Read, find, trace and spoil cards. 卡片。"),
    "stock": Noun("stock", "app", "Blanks: lots, vault, stations. 空白卡库存。"),
    "batch": Noun("batch", "app", "Plan, release, count and close batches. 制证批次。"),
    "station": Noun("station", "app", "Stations: attach, pair, run, drain. 制证工位。"),
    "qc": Noun("qc", "app", "Scan and look at cards. 质检。"),
    "pack": Noun("pack", "app", "Parcels for the points. 装袋。"),
    "dispatch": Noun("dispatch", "app", "Send and receive parcels. 发运与收件。"),
    "order": Noun("order", "app", "Tables from points in, files out. 制证数据。"),
    "queue": Noun("backlog", "queue_app", "What waits for a station. 待制队列。"),
    "remake": Noun("backlog", "remake_app", "Cards to be made again. 补制。"),
    "incident": Noun("backlog", "incident_app", "What two people have to explain. 异常事件。"),
    "report": Noun("report", "app", "Shift, batch, stock and figures. 报表。"),
    "permit": Noun("permit", "app", "Permits and why they sleep. 居住证状态。"),
    "access": Noun("access", "app", "Who may sign in to the API. 接口登录授权。"),
    "vault": Noun("vault", "app", "Seals on personal data. 个人信息加密。"),
    "retention": Noun("retention", "app", "What is due to be deleted. 个人信息保存期限。"),
    "pilot": Noun("pilot", "app", "The pilot: stages, rules, a rehearsal. 试点。"),
    "service": Noun("service", "app", "Services on the card and their gate. 卡上服务。"),
    "terminal": Noun("terminal", "terminal", "A merchant's terminal. 商户终端。"),
    "host": Noun("host", "app", "The purse host that terminals talk to. 电子钱包主机。"),
    "purse": Noun("purse", "app", "One purse: state and statement. 电子钱包查询。"),
    "clearing": Noun("clearing", "app", "Close a day and read its report. 日终清算。"),
    "hsm": Noun("hsm", "app", "The HSM. 加密机。"),
    "ceremony": Noun("ceremony", "app", "Key ceremonies and their proof. 密钥仪式。"),
    "audit": Noun("audit", "app", "The sealed event log. 事件日志的封存与核验。"),
    "sim": Noun("sim", "app", "Simulated devices. 模拟设备。"),
}  # fmt: skip


class Commands(TyperGroup):
    """The top of the command line. For a listing each noun is a line of help; to run one, it is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the table."""
        del ctx
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that knows its help."""
        del ctx
        noun = NOUNS.get(cmd_name)
        return None if noun is None else TyperCommand(cmd_name, short_help=noun.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command behind the first word."""
        if args and args[0] in NOUNS:
            return args[0], _load(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def _load(word: str) -> Any:
    noun = NOUNS[word]
    found = getattr(import_module(f"cli.{noun.module}"), noun.name)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    single = typer.Typer(add_completion=False)
    single.command(word)(found)
    return typer.main.get_command(single)
