"""The words a terminal understands, typed or from a script: one line, one step, one answer (console.md 5).

A step answers with a dictionary (for ``--json``) and a sentence in both languages. What goes wrong is an error of
`core.errors` with its code; a script line ``expect CODE ...`` turns the error it names into a good step.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.terminal_answers import OUTCOMES, Answer, fen_of, split, take, verifier
from core.errors import CityError, Rejected
from core.money import format_yuan

if TYPE_CHECKING:
    from payments.capp import CappRecord
    from payments.receipts import Receipt
    from payments.terminal_records import PurchaseEntry
    from runtime.terminal_kit import TerminalKit


@dataclass(frozen=True)
class Word:
    """One command: how it is written, what it does, in both languages."""

    run: Callable[["Shell", list[str]], Answer]
    usage: str
    en: str
    zh: str


@dataclass
class Shell:
    """Runs steps on one terminal. `pin` is the purse PIN the holder typed; it goes with the holder's card."""

    kit: "TerminalKit"
    pin: str = field(default="", repr=False)
    ended: bool = False
    last_receipt: "Receipt | None" = None

    def step(self, line: str) -> Answer | None:
        """Run one line; None for an empty one. Raises what the step raises, Rejected TERM-WORD for no command."""
        words = split(line)
        if not words:
            return None
        if words[0] == "expect":
            return self._expected(words[1:])
        word = WORDS.get(words[0])
        if word is None:
            raise Rejected("TERM-WORD", f"no command {words[0]!r}", word=words[0])
        return word.run(self, words[1:])

    def _expected(self, words: list[str]) -> Answer:
        if len(words) < 2 or words[1] not in WORDS:
            raise Rejected("TERM-USAGE", "expect", usage="expect CODE COMMAND ...")
        code, name, *rest = words
        try:
            WORDS[name].run(self, rest)
        except CityError as fault:
            if code not in (fault.code, fault.facts.get("response"), fault.facts.get("sw")):
                raise
            return Answer({"expected": code}, f"{code}, as expected", f"{code}，符合预期")
        raise Rejected("TERM-EXPECTED", f"{name} went well", word=code)


# -- the holder's side ------------------------------------------------------------------------------


def _insert(shell: Shell, words: list[str]) -> Answer:
    (card,) = take(words, 1, 1, "insert CARD")
    shell.pin = ""
    shell.kit.insert(card)
    return Answer({"card": card}, "card in", "卡片已放上")


def _remove(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "remove")
    shell.pin = ""
    shell.kit.remove()
    return Answer({}, "card out", "卡片已取走")


def _pull(shell: Shell, words: list[str]) -> Answer:
    (how,) = take(words, 0, 1, "pull [before|after]")
    if how not in ("", "before", "after"):
        raise Rejected("TERM-WORD", "pull [before|after]", word=how)
    if not how:
        return _remove(shell, [])
    shell.kit.arm(how)
    return Answer(
        {"armed": how},
        f"the card will be pulled {how} the next debit or credit",
        f"下一次扣款或圈存{'前' if how == 'before' else '后'}将拔卡",
    )


def _pin(shell: Shell, words: list[str]) -> Answer:
    (shell.pin,) = take(words, 1, 1, "pin DIGITS")
    return Answer({}, "PIN noted", "密码已输入")


def _cancel(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "cancel")
    shell.pin = ""
    shell.kit.pad.cancel()
    return Answer({}, "cancelled; nothing was sent", "已取消，未发送任何交易")


def _balance(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "balance")
    fen = shell.kit.terminal.balance()
    yuan = format_yuan(fen)
    return Answer({"balance_fen": fen}, f"balance {yuan}", f"余额 {yuan}")


def _pay(shell: Shell, words: list[str]) -> Answer:
    amount, sale = take(words, 1, 2, "pay YUAN [SALE]")
    return _sold(shell, fen_of(amount), sale)


def _sold(shell: Shell, fen: int, sale: str, records: "tuple[CappRecord, ...]" = ()) -> Answer:
    terminal = shell.kit.terminal
    known = terminal.store.sale(sale) if sale else None
    entry = terminal.pay(fen, sale, records)
    terminal.upload_if_due()
    return _paid(shell, entry, again=known is not None and known.spent)


def _paid(shell: Shell, entry: "PurchaseEntry", again: bool = False) -> Answer:
    from payments.receipts import purchase_receipt

    record = entry.record
    left = record.balance_before - record.amount
    shell.last_receipt = purchase_receipt(shell.kit.terminal.identity, entry)
    facts = {
        "paid_fen": record.amount, "left_fen": left, "status": record.status.value,
        "psam_counter": record.terminal_counter, "already": again,
    }  # fmt: skip
    paid, rest = format_yuan(record.amount), format_yuan(left)
    if again:
        at = f"{record.time.hex()[:2]}:{record.time.hex()[2:4]}"
        return Answer(facts, f"already paid {paid} at {at}", f"已于{at}支付{paid}")
    return Answer(facts, f"paid {paid}, left {rest}", f"已付{paid}，余额{rest}")


def _capp(shell: Shell, words: list[str]) -> Answer:
    amount, application, data, sale = take(words, 3, 4, "capp YUAN ID HEX [SALE]")
    from payments.capp import CappRecord

    try:
        record = CappRecord(int(application, 16), bytes.fromhex(data))
    except ValueError as reason:
        raise Rejected("TERM-WORD", str(reason), word=application) from None
    return _sold(shell, fen_of(amount), sale, (record,))


def _account(shell: Shell, words: list[str]) -> Answer:
    """7.3: what the funding account holds."""
    account, pin = take(words, 2, 2, "account ACCOUNT PIN")
    shell.kit.pad.type_pin(pin)
    fen = shell.kit.terminal.account_balance(account)
    yuan = format_yuan(fen)
    return Answer({"account_fen": fen}, f"the account holds {yuan}", f"账户余额 {yuan}")


def _load(shell: Shell, words: list[str]) -> Answer:
    from payments.requests import CASH_LOAD, LOAD

    amount, account, account_pin = take(words, 1, 3, "load YUAN [ACCOUNT [PIN]]")
    if account_pin:
        shell.kit.pad.type_pin(account_pin)
    return _loaded(shell, amount, LOAD if account else CASH_LOAD, account)


def _unload(shell: Shell, words: list[str]) -> Answer:
    from payments.requests import UNLOAD

    amount, account = take(words, 2, 2, "unload YUAN ACCOUNT")
    return _loaded(shell, amount, UNLOAD, account)


def _loaded(shell: Shell, amount: str, kind: str, account: str) -> Answer:
    from payments.receipts import load_receipt
    from payments.terminal_loads import LoadWish

    wish = LoadWish(fen_of(amount), verifier(shell.pin), kind, account)
    case = shell.kit.terminal.load(wish)
    shell.last_receipt = load_receipt(shell.kit.terminal.identity, case)
    asked = case.request
    after, moved = asked.balance_after, asked.balance_after - asked.balance
    facts = {
        "loaded_fen": moved if case.tac else 0, "balance_fen": after if case.tac else None,
        "state": case.state.value, "batch": f"{case.batch:06d}", "trace": f"{case.trace:06d}",
        "reference": case.reference,
    }  # fmt: skip
    yuan, left = format_yuan(asked.amount), format_yuan(after)
    done_en, done_zh = ("unloaded", "圈提") if moved < 0 else ("loaded", "圈存")
    return Answer(facts, f"{done_en} {yuan}, balance {left}", f"已{done_zh}{yuan}，余额{left}")


def _again(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "again")
    verify = verifier(shell.pin) if shell.pin else None
    paid, loaded = shell.kit.terminal.settle_card(verify)
    for entry in paid:
        if entry.spent:
            return _paid(shell, entry)
    facts = {
        "purchases": [entry.record.status.value for entry in paid],
        "loads": [case.state.value for case in loaded],
    }
    found = [*facts["purchases"], *facts["loads"]]
    if not found:
        return Answer(facts, "nothing was open with this card", "该卡没有未决交易")
    en = ", ".join(OUTCOMES.get(state, (state, state))[0] for state in found)
    zh = "、".join(OUTCOMES.get(state, (state, state))[1] for state in found)
    return Answer(facts, f"settled: {en}", f"已处理：{zh}")


def _aside(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "aside")
    shell.kit.terminal.selling().set_aside()
    return Answer({}, "others may pay; the torn one is kept", "可为他人服务；未决交易已保留")


# -- the operator's side ----------------------------------------------------------------------------


def _line(on: bool) -> Callable[[Shell, list[str]], Answer]:
    def switch(shell: Shell, words: list[str]) -> Answer:
        take(words, 0, 0, "online" if on else "offline")
        shell.kit.switch.on = on
        if not on:
            shell.kit.switch.close()
        return Answer({"online": on}, *(("on line", "已联机") if on else ("off line", "已脱机")))

    return switch


def _sign_on(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "signon")
    shell.kit.terminal.sign_on()
    batch = f"{shell.kit.terminal.session.batch:06d}"
    return Answer({"batch": batch}, f"signed on, batch {batch}", f"签到成功，批次{batch}")


def _echo(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "echo")
    shell.kit.terminal.session.echo()
    return Answer({}, "the host answers", "主机有应答")


def _sign_off(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "signoff")
    shell.kit.terminal.sign_off()
    return Answer({}, "signed off", "已签退")


def _upload(shell: Shell, words: list[str]) -> Answer:
    (twice,) = take(words, 0, 1, "upload [twice]")
    if twice not in ("", "twice"):
        raise Rejected("TERM-USAGE", twice, usage="upload [twice]")
    terminal = shell.kit.terminal
    waiting = terminal.store.waiting()
    count = terminal.upload()
    facts: dict[str, Any] = {"sent": count}
    en, zh = f"{count} payments sent", f"已上传{count}笔"
    if twice == "twice":
        codes = [
            terminal.selling().resend(terminal.store.purchases[entry.number], fresh_trace=True)
            for entry in waiting
        ]
        facts["again"] = codes
        told = " ".join(sorted(set(codes))) or "-"
        en, zh = f"{en}, and again: {told}", f"{zh}，并重复上传：{told}"
    return Answer(facts, en, zh)


def _lists(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 1, "lists")
    shell.kit.terminal.update_lists()
    lists = shell.kit.terminal.care.lists
    facts = {
        "blacklist": {"version": lists.black_version, "entries": len(lists.black)},
        "status_list": {"version": lists.status_version, "entries": len(lists.status)},
    }
    total = len(lists.black) + len(lists.status)
    return Answer(facts, f"lists are current, {total} entries", f"名单已更新，共{total}条")


def _parameters(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "params")
    shell.kit.terminal.update_parameters()
    return Answer({}, "parameters applied", "参数已生效")


def _report(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "report")
    shell.kit.terminal.report()
    return Answer({}, "status reported", "状态已上报")


def _settle(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "settle")
    from payments.receipts import settlement_receipt

    settled = shell.kit.terminal.settle()
    shell.last_receipt = settlement_receipt(shell.kit.terminal.identity, settled)
    facts = {
        "batch": f"{settled.batch:06d}", "result": settled.result, "details": settled.details,
        "differences": settled.differences,
        "totals": {k: {"count": t.count, "amount_fen": t.amount} for k, t in settled.totals.kinds.items()},
    }  # fmt: skip
    batch, number = facts["batch"], sum(t.count for t in settled.totals.kinds.values())
    en, zh = ("balanced", "平账") if settled.result == 1 else ("not balanced", "不平账")
    if settled.result != 1:
        en, zh = f"{en}, {settled.details} details sent", f"{zh}，上送明细{settled.details}笔"
    if settled.differences:
        en, zh = f"{en}; differences are left for people", f"{zh}；差异转人工处理"
    return Answer(
        facts,
        f"batch {batch} closed, transactions {number}, {en}",
        f"批次{batch}已关闭，{number}笔，{zh}",
    )


def _state(shell: Shell, words: list[str]) -> Answer:
    """Off-line honesty: list age, open batch, what waits."""
    take(words, 0, 0, "state")
    terminal = shell.kit.terminal
    age, store = terminal.list_age(), terminal.store
    hours = None if age is None else int(age.total_seconds() // 3600)
    facts = {
        "online": shell.kit.switch.on, "batch": f"{terminal.session.batch:06d}",
        "signed_on": terminal.session.signed_on, "list_age_hours": hours,
        "waiting": len(store.waiting()), "torn": len(store.torn()),
        "reversals": len(terminal.loads.reversals()),
        "confirmations": len(terminal.loads.confirmations()),
        "doubtful": len(terminal.loads.doubtful()),
    }  # fmt: skip
    old_en = "no list" if hours is None else f"list {hours} h old"
    old_zh = "无名单" if hours is None else f"名单已{hours}小时"
    count, torn = facts["waiting"], facts["torn"]
    return Answer(
        facts,
        f"{old_en}, {count} payments not yet sent, {torn} torn",
        f"{old_zh}，{count}笔未上传，{torn}笔未决",
    )


def _receipt(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "receipt")
    if shell.last_receipt is None:
        raise Rejected("TERM-NO-RECEIPT", "nothing to print yet")
    text = str(shell.last_receipt)
    return Answer({"lines": list(shell.last_receipt.lines)}, text, text)


def _help(_shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "help")
    en = "\n".join(f"{word.usage:<27} {word.en}" for word in WORDS.values())
    zh = "\n".join(f"{word.usage:<27} {word.zh}" for word in WORDS.values())
    return Answer({"words": list(WORDS)}, en, zh)


def _quit(shell: Shell, words: list[str]) -> Answer:
    take(words, 0, 0, "quit")
    shell.ended = True
    return Answer({}, "bye", "再见")


WORDS: dict[str, Word] = {
    "insert": Word(_insert, "insert CARD", "put a chip's image file on the reader", "放上卡片（映像文件）"),
    "remove": Word(_remove, "remove", "take the card away", "取走卡片"),
    "pull": Word(_pull, "pull [before|after]", "tear it out, now or at the next debit", "立即或下次扣款时拔卡"),
    "pin": Word(_pin, "pin DIGITS", "the holder types the purse PIN", "持卡人输入钱包密码"),
    "balance": Word(_balance, "balance", "what is on the card", "查询余额"),
    "pay": Word(_pay, "pay YUAN [SALE]", "off-line purchase; a sale id never charges twice", "脱机消费"),
    "capp": Word(_capp, "capp YUAN ID HEX [SALE]", "composite purchase with a record", "复合消费"),
    "again": Word(_again, "again", "the same card is back: settle what was torn", "重新放卡，处理未决交易"),
    "aside": Word(_aside, "aside", "serve others, keep the torn one", "搁置未决交易"),
    "cancel": Word(_cancel, "cancel", "the holder presses cancel instead of a PIN", "持卡人按取消键"),
    "account": Word(_account, "account ACCOUNT PIN", "what the funding account holds", "查询账户余额"),
    "load": Word(_load, "load YUAN [ACCOUNT [PIN]]", "load with cash, or from an account", "圈存（现金或账户）"),
    "unload": Word(_unload, "unload YUAN ACCOUNT", "pay out to an account, from a deposit purse", "圈提至账户"),
    "offline": Word(_line(False), "offline", "cut the line to the host", "断开主机"),
    "online": Word(_line(True), "online", "connect the line again", "恢复联机"),
    "signon": Word(_sign_on, "signon", "fetch work keys", "签到"),
    "echo": Word(_echo, "echo", "does the host answer", "回响测试"),
    "signoff": Word(_sign_off, "signoff", "end the session", "签退"),
    "lists": Word(_lists, "lists [update]", "bring blacklist and status list up to date", "更新名单"),
    "params": Word(_parameters, "params", "fetch parameters", "下载参数"),
    "report": Word(_report, "report", "tell the host how the terminal stands", "上报状态"),
    "upload": Word(_upload, "upload [twice]", "send what waits; twice: again under new numbers", "上传交易"),
    "settle": Word(_settle, "settle", "close the batch", "结算"),
    "state": Word(_state, "state", "list age, open batch, what waits", "终端状态"),
    "receipt": Word(_receipt, "receipt", "print the last receipt", "打印凭条"),
    "help": Word(_help, "help", "this list", "帮助"),
    "quit": Word(_quit, "quit", "end; nothing that waits is lost", "退出"),
}  # fmt: skip
