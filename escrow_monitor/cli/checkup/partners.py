"""Whom the program speaks to: banks, their certificates, clocks and last answers, and the channels of alerts."""

from __future__ import annotations

from collections.abc import Iterator

from escrow_monitor.banks.certificates import bank_files
from escrow_monitor.banks.making import make_connector
from escrow_monitor.banks.probe import door_of
from escrow_monitor.banks.reach import Reach, StepName, knock, resolves
from escrow_monitor.cli.advice import advice
from escrow_monitor.cli.checkup.check import Area, Check, Look
from escrow_monitor.domain.certificates import CertificateRole, CertificateState
from escrow_monitor.records.bank.certificates import seen_certificates
from escrow_monitor.records.bank.pulls import bank_answers
from escrow_monitor.rounds.channels import host_of
from escrow_monitor.wiring import make_channel


def bank_section(look: Look, name: str) -> Iterator[Check]:
    """A section that a connector can be made of, and the certificates it names."""
    bank = look.settings.banks[name]
    make_connector(look.settings, name, look.app.clock).close()
    said = look.pick(zh="配置可用", en="well configured")
    yield look.ok(f"bank {name}", f"{said} ({bank.connector})")
    for state in bank_files(look.settings, name, bank, now=look.app.real_now()):
        yield look.certificate(state)


def bank_door(look: Look, name: str) -> Iterator[Check]:
    """The bank answers, shows a certificate that holds, and has the same time."""
    reach = knock(door_of(look.settings, look.settings.banks[name]), now_of=look.app.real_now)
    yield from reached(look, f"bank {name}", reach)
    if reach.certificate is not None:
        yield look.certificate(CertificateState(
            bank=name, role=CertificateRole.SERVER, certificates=(reach.certificate,),
            seen_at=look.app.real_now(),
        ))
    if reach.skew is not None:
        yield look.skew(f"bank {name} clock", reach.skew)
    elif reach.reached and (last := reach.steps[-1]).name is StepName.CLOCK:
        if last.ok is None:
            yield look.warn(f"bank {name} clock", Area.OUTSIDE, last.detail, "")
        else:
            yield look.bad(f"bank {name}", Area.OUTSIDE, last.detail, advice("unreachable", look.language))


def reached(look: Look, name: str, reach: Reach) -> Iterator[Check]:
    """How far we got."""
    last = reach.steps[-1]
    if reach.reached:
        took = sum(step.seconds for step in reach.steps) * 1000
        yield look.ok(name, f"{reach.host}:{reach.port} {reach.steps[-2].detail}, {took:.0f} ms")
    else:
        yield look.bad(
            name, Area.OUTSIDE, f"{reach.host}:{reach.port} {last.name.value}: {last.detail}",
            advice("unreachable", look.language),
        )


def shown(look: Look) -> Iterator[Check]:
    """The banks' certificates as the rounds last saw them: all there is to say offline."""
    if not look.offline:
        return
    with look.app.database.read() as session:
        seen = seen_certificates(session)
    for name, bank in look.settings.banks.items():
        if bank.base_url.startswith("https:"):
            yield look.certificate(seen.get(name) or CertificateState(
                bank=name, role=CertificateRole.SERVER, certificates=(), seen_at=None,
                unknown_why="no connection yet",
            ))


def answers(look: Look) -> Iterator[Check]:
    """How the banks answered the last round."""
    with look.app.database.read() as session:
        answers = {one.bank: one for one in bank_answers(session)}
    for name in look.settings.banks:
        found, key = answers.get(name), f"bank {name} answers"
        if found is None:
            yield look.warn(
                key, Area.DATA, look.pick(zh="没有登记任何账户", en="no account of it is registered"), "import accounts"
            )
        elif found.silent:
            reason = max(found.refusals, key=lambda one: found.refusals[one])
            yield (look.bad if found.silent >= found.accounts else look.warn)(
                key, Area.DATA, look.pick(
                    zh=f"{found.accounts} 个账户中 {found.silent} 个上次没有答复（{reason}），"
                    f"最近答复 {found.last_answer_at}",
                    en=f"{found.silent} of {found.accounts} accounts had no answer last time ({reason}); last answer "
                    f"{found.last_answer_at}",
                ), advice(reason, look.language),
            )
        elif found.last_answer_at is None:
            yield look.warn(
                key, Area.DATA, look.pick(zh="还没有查询过", en="not asked yet"), "round pull-balances"
            )
        else:
            yield look.ok(key, look.pick(
                zh=f"{found.accounts} 个账户都有答复，最近 {found.last_answer_at}",
                en=f"all {found.accounts} accounts answer, last at {found.last_answer_at}",
            ))


def channel(look: Look, name: str) -> Iterator[Check]:
    """A channel that can be made, and whose address has a host."""
    make_channel(look.settings, name).close()
    chosen = look.settings.channels[name]
    host = host_of(look.settings, name)
    if host is None or look.offline:
        yield look.ok(f"channel {name}", chosen.type)
        return
    try:
        resolves(host)
    except OSError as error:
        yield look.bad(
            f"channel {name}", Area.OUTSIDE, f"{host}: {error.strerror or 'no answer in time'}",
            look.pick(zh="检查通道地址与域名解析", en="check the channel's address and name servers"),
        )
    else:
        yield look.ok(f"channel {name}", f"{chosen.type} {host}")
