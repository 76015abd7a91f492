"""What to do about an answer that was not taken: the runbook's sentence for each reason."""

from __future__ import annotations

from collections.abc import Mapping

ADVICE: Mapping[str, tuple[str, str]] = {
    "timeout": (
        "若持续超时请联系银行；确属银行慢才调大 timeout_seconds",
        "if it lasts, call the bank; raise timeout_seconds only if the bank says it is slow",
    ),
    "unreachable": (
        "检查域名解析、防火墙、证书与 base_url",
        "check DNS, the firewall, certificates and base_url",
    ),
    "unauthorized": (
        "更换令牌文件（token_file）",
        "renew the token file (token_file)",
    ),
    "forbidden": (
        "核对授权范围与同银行的协议",
        "check the consent's scope and the contract with the bank",
    ),
    "not_found": (
        "核对账号与 external_id；账户是否已销户",
        "check account number and external_id; was the account closed?",
    ),
    "rate_limited": (
        "调低 calls_per_second；启用批量查询",
        "lower calls_per_second; use batch calls",
    ),
    "consent_expired": (
        "请机构重新授权，并更新 consent_id",
        "get a new consent from the institution and set consent_id",
    ),
    "server_error": (
        "银行系统出错：稍候，再联系银行",
        "the bank's fault: wait, then call the bank",
    ),
    "unexpected_status": (
        "接口已变更，或 base_url 有误",
        "the interface changed, or base_url is wrong",
    ),
    "circuit_open": (
        "先看之前的失败原因；稍后会再次查询",
        "see the failures before it; it is asked again after a minute",
    ),
    "outside_hours": (
        "不在 windows 允许的时段内；若有误请改配置",
        "outside the windows in which this bank may be called; correct them if they are wrong",
    ),
    "too_large": (
        "文件或地址有误",
        "a wrong file or address",
    ),
    "not_configured": (
        "增加 [banks.名称] 配置",
        "add [banks.NAME]",
    ),
    "malformed": (
        "把原始答复交给银行核查；核对接口与映射",
        "send the answer to the bank; check interface and mapping",
    ),
    "missing_field": (
        "核对字段映射；向银行索取接口说明",
        "check the mapping of fields; ask the bank for its description",
    ),
    "bad_amount": (
        "金额写法无法读取：核对映射与单位",
        "an amount that is no plain decimal: check mapping and unit",
    ),
    "bad_date": (
        "日期无法读取：核对映射与格式",
        "a date that cannot be read: check mapping and format",
    ),
    "dated_in_future": (
        "核对银行时钟、zone 与本机时钟",
        "check the bank's clock, its zone, and ours (timedatectl)",
    ),
    "wrong_currency": (
        "核对账户登记的币种",
        "check the account's currency in our books",
    ),
    "wrong_account": (
        "严重：银行答的是别的账户，请立即联系银行",
        "serious: the bank spoke of another account; report it to the bank at once",
    ),
    "unknown_account": (
        "先登记该账户（import accounts）",
        "register the account first (import accounts)",
    ),
    "no_balance": (
        "答复中没有可用的余额：核对银行提供的余额类型",
        "no balance that can be used: which balance types does the bank offer?",
    ),
    "empty": (
        "答复为空：请向银行确认",
        "the answer is empty: ask the bank",
    ),
    "unknown_format": (
        "不是我们能读的格式",
        "not a format that we read",
    ),
    "does_not_tie": (
        "期初加发生额不等于期末：请银行重新提供",
        "opening + entries is not closing: ask the bank for it again",
    ),
    "does_not_chain": (
        "与前一日期末不衔接：索取两日的对账单",
        "a day is missing or was restated: ask for both statements",
    ),
    "contradicts": (
        "与已知不一致：请银行说明",
        "it contradicts what is known: ask the bank which holds",
    ),
    "bad_signature": (
        "签名不符：核对银行公钥；可能有人改动了答复，请联系银行",
        "the signature does not hold: check the bank's public key; if it is right, tell the bank at once",
    ),
    "unsafe_xml": (
        "不要打开；查明是谁放的",
        "do not open it; ask who put it there",
    ),
}
"""By reason: Chinese, English."""


def advice(reason: str, language: str) -> str:
    """What to do about a refusal, in the language of this run."""
    zh, en = ADVICE.get(reason, (f"见运行手册“{reason}”", f"see the runbook, refusal reason {reason}"))
    return zh if language == "zh" else en
