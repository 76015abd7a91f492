"""What is said where a page cannot be shown: in both languages, what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.feeds.item import Lang

PROBLEM_WORDS: Mapping[str, Mapping[Lang, str]] = {
    "problem.400": {"zh": "这个请求读不懂", "en": "This request is not understood"},
    "problem_do.400": {
        "zh": "网址里的条件不对，或者内容不完整。请回到上一页重新选择。",
        "en": "Something in the address or in what was sent is wrong. Go back and choose again.",
    },
    "problem.403": {"zh": "这里不允许这样做", "en": "This is not allowed here"},
    "problem_do.403": {
        "zh": "您的账户没有这项权限，或者内容不是从本系统的页面发出的。需要时请联系管理员。",
        "en": "Your account may not do this, or it was not sent from a page of ours. An administrator can help.",
    },
    "problem.404": {"zh": "没有这个页面", "en": "There is no such page"},
    "problem_do.404": {
        "zh": "网址可能写错了，或者内容在您看不到的范围里。请从首页或列表重新进入。",
        "en": "The address may be wrong, or what it shows is not for you to see. Start again from a list.",
    },
    "problem.405": {"zh": "这个网址不能这样打开", "en": "This address is not opened this way"},
    "problem_do.405": {
        "zh": "它只接收表单。请回到页面，从按钮进入。",
        "en": "It only takes a form. Go back to its page and use the button there.",
    },
    "problem.413": {"zh": "提交的内容太大", "en": "What was sent is too large"},
    "problem_do.413": {
        "zh": "什么也没有保存。请把文件分成几份，或缩短文字后再提交。",
        "en": "Nothing was kept. Cut the file into parts, or shorten the text, and send it again.",
    },
    "problem.422": {"zh": "填写的内容有误", "en": "Something filled in is wrong"},
    "problem_do.422": {
        "zh": "什么也没有保存。请返回上一页更正后再提交。",
        "en": "Nothing was kept. Go back, put it right and send it again.",
    },
    "problem.429": {"zh": "打开得太快了", "en": "That was too many pages at once"},
    "problem_do.429": {
        "zh": "为了不影响其他人，请等 {wait} 秒再试。没有丢失任何内容。",
        "en": "So that nobody else has to wait, try again in {wait} s. Nothing is lost.",
    },
    "problem.500": {"zh": "系统出错了", "en": "Something went wrong here"},
    "problem_do.500": {
        "zh": "原因已写入运行日志。请稍后再试；若再次出现，请把时间和网址告诉运维人员。",
        "en": "The server's log says why. Try again shortly; if it happens again, tell the operators when and where.",
    },
    "problem.503": {"zh": "暂时办不了", "en": "Not possible at the moment"},
    "problem_do.503": {
        "zh": "系统正忙。请稍后再试；若持续如此，请通知运维人员。",
        "en": "The system is busy. Try again shortly; if it stays so, tell the operators.",
    },
    "problem_detail": {"zh": "给运维人员的说明", "en": "For the operators"},
    "problem_again": {"zh": "再试一次", "en": "Try again"},
    "menu": {"zh": "菜单", "en": "Menu"},
    "list_told": {"zh": "本页共 {count} 家机构", "en": "{count} institutions on this page"},
    "not_done": {
        "zh": "没有成功：请稍后再试，或重新打开本页。",
        "en": "That did not work: try again shortly, or load the page again.",
    },
}
