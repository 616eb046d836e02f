"""Secure channels of card production, `20` to `2E`, and what goes to the card under their data key."""

import secrets
from dataclasses import dataclass

from hsm_sim.channel import Apdu, Channel
from hsm_sim.codec import with_length
from hsm_sim.commands.issue import meter
from hsm_sim.errors import refusal
from hsm_sim.issue_requests import (
    AuthenticateChannel,
    BeginChannel,
    EndChannel,
    ExportCardKeyToChannel,
    ReencryptData,
    UnwrapAnswer,
    WrapApdu,
)
from hsm_sim.secret import DES_ALGORITHMS, ecb_cipher
from hsm_sim.work import Work, handles

MAX_CHANNELS = 256
IDLE_SECONDS = 120
MAX_APDUS = 4096
HANDLE_BYTES = 4


@dataclass
class _Open:
    """A channel in the table: when it was used last, how many APDUs went through it."""

    channel: Channel
    last: float
    apdus: int = 0


class Channels:
    """The open channels of one HSM, by handle. A handle lives on its connection only (R-13)."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Open] = {}

    def add(self, channel: Channel, now: float) -> bytes:
        """A fresh handle; HSM-F6 when the table is full of channels in use."""
        for handle, one in list(self._open.items()):
            if now - one.last > IDLE_SECONDS:
                del self._open[handle]
        if len(self._open) >= MAX_CHANNELS:
            raise refusal("F6", "no more secure channels")
        handle = secrets.token_bytes(HANDLE_BYTES)
        while handle in self._open:
            handle = secrets.token_bytes(HANDLE_BYTES)
        self._open[handle] = _Open(channel, now)
        return handle

    def use(self, handle: bytes, connection: int, now: float) -> Channel:
        """The channel of a handle; HSM-F5 (unknown, idle too long, another's), HSM-F6 (used up)."""
        one = self._open.get(handle)
        if one is None or one.channel.connection != connection or now - one.last > IDLE_SECONDS:
            raise refusal("F5")
        one.apdus += 1
        if one.apdus > MAX_APDUS:
            self.end(handle)
            raise refusal("F6", "the channel carried its last APDU")
        one.last = now
        return one.channel

    def end(self, handle: bytes) -> None:
        """Forget a channel and its keys."""
        self._open.pop(handle, None)

    def end_connection(self, connection: int) -> None:
        """Forget all channels of a connection."""
        for handle, one in list(self._open.items()):
            if one.channel.connection == connection:
                del self._open[handle]

    def clear(self) -> None:
        """Forget all."""
        self._open.clear()


def _channel(work: Work, handle: bytes) -> Channel:
    return work.hsm.channels.use(handle, work.client.connection, work.hsm.seconds())


@handles(BeginChannel)
def begin_channel(work: Work, request: BeginChannel) -> bytes:
    """`20`."""
    channel = Channel(
        request.protocol, request.option[0], work.secret("master"), request.diversification,
        request.level, work.client.connection,
    )  # fmt: skip
    handle = work.hsm.channels.add(channel, work.hsm.seconds())
    return (handle + channel.host_challenge).hex().upper().encode("ascii")


@handles(AuthenticateChannel)
def authenticate_channel(work: Work, request: AuthenticateChannel) -> bytes:
    """`22`: one try; a wrong cryptogram ends the channel."""
    channel = _channel(work, request.handle)
    done = False
    try:
        if channel.session is not None:
            raise refusal("F5", "the channel is open already")
        apdu = channel.authenticate(request.response)
        done = True
    finally:
        if not done:
            work.hsm.channels.end(request.handle)
    return apdu


@handles(WrapApdu)
def wrap_apdu(work: Work, request: WrapApdu) -> bytes:
    """`24`."""
    session = _channel(work, request.handle).open_session()
    return with_length(session.wrap(Apdu.parse(request.apdu)))


@handles(UnwrapAnswer)
def unwrap_answer(work: Work, request: UnwrapAnswer) -> bytes:
    """`26`: levels 0, 1 and 3 leave answers as they are; data and status word are taken apart."""
    _channel(work, request.handle).open_session()
    if len(request.response) < 2:
        raise refusal("15", "an answer ends with a status word")
    data, status = request.response[:-2], request.response[-2:]
    return with_length(data) + status.hex().upper().encode("ascii")


@handles(ReencryptData)
def reencrypt_data(work: Work, request: ReencryptData) -> bytes:
    """`28`: ECB under the transport key, then the channel's data key (ECB in SCP02, CBC in SCP03)."""
    channel, transport = _channel(work, request.handle), work.secret("transport")
    session = channel.open_session()
    unit = 8 if transport.alg in DES_ALGORITHMS else 16
    if not request.data or len(request.data) % max(unit, channel.block):
        raise refusal("80", "data are not whole blocks")
    clear = ecb_cipher(transport.alg, transport.reveal()).decryptor().update(request.data)
    return with_length(session.dek(clear))


@handles(ExportCardKeyToChannel)
def export_card_key_to_channel(work: Work, request: ExportCardKeyToChannel) -> bytes:
    """`12` C: the card key under the channel's data key, within a batch."""
    session = _channel(work, request.handle).open_session()
    master = work.key("master")
    key = work.card_key("master", request.factors)
    batch = meter(work, master, request.factors)
    data = session.dek(key.material)
    work.hsm.log_export(work.client, master.kid, "channel", key.kcv, "12C", batch)
    return with_length(data) + key.kcv.encode("ascii")


@handles(EndChannel)
def end_channel(work: Work, request: EndChannel) -> bytes:
    """`2E`."""
    _channel(work, request.handle)
    work.hsm.channels.end(request.handle)
    return b""
