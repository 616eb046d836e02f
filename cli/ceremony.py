"""``citycard ceremony``: key ceremonies, from the script to the verdict an outsider can check."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import ceremony_offline
from cli.ceremony_table import AsJson, Table, opened, unseen
from cli.output import EXIT_NO, EXIT_USAGE, json_object, note, result

if TYPE_CHECKING:
    from hsm_sim.ceremony.desk import Desk
    from hsm_sim.ceremony.room import Room

app = typer.Typer(
    help="Key ceremonies: prepare, hold, export, verify. 密钥仪式。", no_args_is_help=True
)

Home = Annotated[Path, typer.Option("--home", help="The HSM's folder (0700).")]
People = Annotated[
    Path, typer.Option("--people", help="Folder with everybody's key file, <id>.pem.")
]
RehearsalFile = Annotated[
    Path | None,
    typer.Option("--rehearsal", help="Unattended, for training: see `ceremony run -h`."),
]
MessageFile = Annotated[
    Path | None, typer.Option("--message", help="Also write here what is to be signed.")
]
SignedBy = Annotated[str, typer.Option("--by", help="Who signs, with commas: ca1,iw1,ea1.")]


@app.command("script")
def script(
    file: Annotated[Path | None, typer.Argument(help="A script file to look at.")] = None,
    paper: Annotated[
        Path | None, typer.Option("--paper", help="Write the copy for initials and times.")
    ] = None,
    city: Annotated[
        Path | None, typer.Option("--city", help="Write the pilot city's four scripts here.")
    ] = None,
    lot: Annotated[str, typer.Option("--lot", help="Lot of blank chips, for --city.")] = "07001",
    expires: Annotated[
        str, typer.Option("--expires", help="Last day of the issuance batch, for --city.")
    ] = "2027-02-28",
    as_json: AsJson = False,
) -> None:
    """Show a script and its digest to read aloud, or write the city's scripts. 查看或生成脚本。"""
    from hsm_sim.ceremony.city import city_scripts
    from hsm_sim.ceremony.desk import load_script
    from hsm_sim.ceremony.words import groups, words

    if city is not None:
        city.mkdir(parents=True, exist_ok=True)
        names = []
        for one in city_scripts(lot, expires):
            name = city / f"{one.cid:02d}-{one.kind}.json"
            name.write_bytes(one.text)
            name.with_suffix(".md").write_text(one.paper(), "utf-8")
            names.append(str(name))
        if as_json:
            json_object({"schema": "citycard/ceremony-scripts/1", "scripts": names})
        else:
            for text in names:
                result(text)
        return
    if file is None:
        note("citycard: name a script file, or --city FOLDER")
        raise typer.Exit(EXIT_USAGE)
    shown = load_script(file)
    if paper is not None:
        paper.write_text(shown.paper(), "utf-8")
        note(f"paper copy: {paper}")
    digest = bytes.fromhex(shown.digest)
    if as_json:
        json_object(
            {
                "schema": "citycard/ceremony-script/1",
                "cid": shown.cid,
                "kind": shown.kind,
                "steps": len(shown.plan),
                "sha256": shown.digest,
                "words": words(digest),
            }
        )
        return
    result(shown.paper().rstrip("\n"))
    note(f"read aloud: {words(digest)}")
    note(f"in groups of four: {groups(digest)}")


@app.command("person")
def person(
    id: Annotated[str, typer.Argument(help="Short name as in the roster, for example kc1.")],
    role: Annotated[str, typer.Argument(help="CA, IW, EA, KC or SO.")],
    people: People,
    domain: Annotated[str, typer.Option("--domain", help="Names the key.")] = "city.example",
) -> None:
    """Make a person's signing key, encrypted, and print their entry for the roster. 生成个人签名密钥。"""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from core.errors import NotAllowed
    from hsm_sim.ceremony.people import Person

    fresh = Person.of(id, role, domain, Ed25519PrivateKey.generate())
    passphrase = unseen(f"{id}, a passphrase for your key: ")
    if not passphrase or passphrase != unseen("once more: "):
        raise NotAllowed("CER-KEYFILE", "the passphrase is empty or the two entries differ")
    people.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh.save(people / f"{id}.pem", passphrase.encode("utf-8"))
    json_object(fresh.entry())


@app.command("sign")
def sign(
    message: Annotated[Path, typer.Argument(help="The file the console wrote.")],
    key: Annotated[Path, typer.Option("--key", help="Your key file.")],
    id: Annotated[str, typer.Option("--id", help="Your name in the roster.")],
    role: Annotated[str, typer.Option("--role", help="Your role.")],
) -> None:
    """Sign a step, a close or a sign-in on a machine of your own; type the answer at the console. 异机签名。"""
    import json

    from core.errors import NotAllowed
    from hsm_sim.ceremony.desk import read_small
    from hsm_sim.ceremony.people import Person

    text = read_small(message)
    if not text.startswith(
        (b"hsm-sim approval v1\n", b"hsm-sim close v1\n", b"hsm-sim sign-in v1\n")
    ):
        raise NotAllowed("CER-MESSAGE", "a ceremony's message begins with its kind")
    note(text.decode("utf-8", "backslashreplace"))
    passphrase = unseen(f"{id}, passphrase of your key to sign this: ")
    opened = Person.load(key, passphrase.encode("utf-8"), id, role, "city.example")
    result(json.dumps(opened.sign(text), separators=(",", ":")))


@app.command("run")
def run(
    script: Annotated[Path, typer.Argument(help="The reviewed script file.")],
    home: Home,
    attend: Annotated[
        str, typer.Option("--attend", help="Who is here, with commas: ca1,iw1,ea1,kc1,kc2,kc3.")
    ],
    people: People = Path("people"),
    new: Annotated[
        str | None, typer.Option("--new", help="Make the HSM first, with this name.")
    ] = None,
    roster: Annotated[
        Path | None, typer.Option("--roster", help="For --new: JSON list of everybody's entry.")
    ] = None,
    threshold: Annotated[int, typer.Option(help="For --new: shares that open the HSM.")] = 2,
    officers: Annotated[int, typer.Option(help="For --new: shares given out.")] = 3,
    seen: Annotated[
        Path | None,
        typer.Option("--seen", help="The auditor's trust file with the last checkpoint."),
    ] = None,
    rehearsal: RehearsalFile = None,
    message: MessageFile = None,
    as_json: AsJson = False,
) -> None:
    """Hold a ceremony, or go on with one that was interrupted; prints the auditor's checkpoint. 举行密钥仪式。

    At a terminal people sign with their own keys and type components unseen. With --rehearsal FILE
    (`{"seed": 7}`) people, components and shares are made up: for tests and training only.
    """
    import json

    from core.clock import SystemClock
    from hsm_sim.ceremony.desk import Desk, Quorum, load_roster, load_script, read_small
    from hsm_sim.ceremony.rehearsal import Rehearsal

    plan, clock = load_script(script), SystemClock()
    table = Table(people, message)
    acted = Rehearsal.load(rehearsal) if rehearsal else None
    unattended = acted.room() if acted else None
    room: Room = unattended or table.room()
    if new is not None:
        if acted is None and roster is None:
            note("citycard: --new needs --roster")
            raise typer.Exit(EXIT_USAGE)
        entries = (
            [one.entry() for one in acted.people().values()]
            if acted
            else load_roster(roster or home)
        )
        desk = Desk.make(home, new, clock, entries, room, Quorum(threshold, officers))
        if acted is not None and unattended is not None:
            acted.keep(unattended.shares)
    else:
        desk = Desk.open(home, clock, room)
    with table.at(desk):
        if seen is not None:
            desk.show_extends(json.loads(read_small(seen)))
        checkpoint = desk.hold(plan, attend.split(","))
        for line in unattended.shown if unattended else []:
            note(line)
        _closed(desk, checkpoint, as_json)


@app.command("close")
def close(
    home: Home,
    reason: Annotated[str, typer.Option("--reason", help="Why, in the witness's words.")],
    people: People = Path("people"),
    rehearsal: RehearsalFile = None,
    message: MessageFile = None,
    as_json: AsJson = False,
) -> None:
    """End a ceremony that cannot go on, as aborted: a normal outcome. 中止仪式。"""
    with opened(home, people, rehearsal, message) as desk:
        _closed(desk, desk.abort(reason), as_json)


@app.command("enrol")
def enrol(
    entry: Annotated[Path, typer.Argument(help="What `ceremony person` printed, in a file.")],
    home: Home,
    by: SignedBy,
    people: People = Path("people"),
    rehearsal: RehearsalFile = None,
    message: MessageFile = None,
) -> None:
    """Put a person on the roster, signed by administrator, witness and auditor. 登记人员。"""
    from hsm_sim.ceremony.desk import load_entry

    known = load_entry(entry)
    with opened(home, people, rehearsal, message) as desk:
        desk.enrol(known, by.split(","))
    result(f"{known['id']} {known['role']}")


@app.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(help="Name in the roster.")],
    home: Home,
    by: SignedBy,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the log.")],
    people: People = Path("people"),
    rehearsal: RehearsalFile = None,
    message: MessageFile = None,
) -> None:
    """Take a person off the roster for good. 撤销人员。"""
    with opened(home, people, rehearsal, message) as desk:
        desk.revoke(id, reason, by.split(","))
    result(id)


@app.command("export")
def export(
    home: Home,
    nonce: Annotated[str, typer.Option("--nonce", help="The auditor's: 20 to 64 hex digits.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the bundle, empty or new.")],
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust", help="Write the auditor's first trust file (at the init ceremony)."
        ),
    ] = None,
    people: People = Path("people"),
    rehearsal: RehearsalFile = None,
    as_json: AsJson = False,
) -> None:
    """Write an audit bundle that answers an auditor's nonce. 导出审计包。"""
    import json

    with opened(home, people, rehearsal, None) as desk:
        known = desk.export(out, nonce)
        lines = desk.hsm.log.size
    if trust is not None:
        trust.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
        note(f"trust file: {trust}; keep it away from the bundle")
    if as_json:
        json_object({"schema": "citycard/ceremony-export/1", "bundle": str(out), "lines": lines})
    else:
        result(str(out))


@app.command("copy")
def copy(
    home: Home,
    to: Annotated[Path, typer.Option("--to", help="A folder on another disk.")],
) -> None:
    """Copy every line of the log to another disk, from the next start on. 日志另存副本。"""
    from hsm_sim.ceremony.desk import keep_copy

    keep_copy(home, to)
    result(str(to))


@app.command("join")
def join() -> None:
    """Join shares of the unlock secret for `hsm serve`; only into a pipe, never to a screen. 合并份额。"""
    from core.errors import NotAllowed
    from hsm_sim.ceremony.desk import unlock_secret

    if sys.stdout.isatty():
        raise NotAllowed("CER-TERMINAL", "pipe this into `citycard hsm serve`")
    result(unlock_secret(Table(Path("people"), None).room()).hex() + "\n")


app.command("verify")(ceremony_offline.verify)
app.command("kcv")(ceremony_offline.kcv)
app.command("lab")(ceremony_offline.lab)


def _closed(desk: "Desk", checkpoint: str, as_json: bool) -> None:
    """What the auditor takes away."""
    last = list(desk.hsm.log.events("ceremony.close"))[-1]["body"]
    if as_json:
        json_object(
            {
                "schema": "citycard/ceremony-close/1",
                "cid": last["cid"],
                "status": last["status"],
                "keys": last["keys"],
                "checkpoint": checkpoint,
            }
        )
    else:
        result(checkpoint.rstrip("\n"))
    if last["status"] != "complete":
        raise typer.Exit(EXIT_NO)
