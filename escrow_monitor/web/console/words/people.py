"""What the pages about people say: signing in elsewhere, one's own account, users and keys, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.feeds.item import Lang

PEOPLE_WORDS: Mapping[str, Mapping[Lang, str]] = {
    # signing in elsewhere
    "oidc_button": {"zh": "用{label}登录", "en": "Sign in with {label}"},
    "oidc_or": {"zh": "或者用本系统的用户名和密码：", "en": "Or by name and password:"},
    "oidc_silent": {
        "zh": "统一登录系统现在没有响应，请稍后再试，或用本系统的密码登录。",
        "en": "The organisation's sign-in does not answer now. Try again later, or use a password of this console.",
    },
    "oidc_begin_again": {
        "zh": "这次登录已过期，或不是从本浏览器开始的。请重新登录。",
        "en": "This sign-in is too old, or did not begin in this browser. Please begin again.",
    },
    "oidc_cancelled": {
        "zh": "统一登录没有完成：已取消或被拒绝。",
        "en": "The sign-in was cancelled or refused by the organisation's side.",
    },
    "oidc_not_vouched": {
        "zh": "统一登录系统的答复无法核实，没有登录。请重试；如再次出现，请告知管理员。",
        "en": "What the organisation's sign-in answered cannot be believed: nobody was signed in. Try again, and tell"
        " an administrator if it happens again.",
    },
    "oidc_refused.unknown": {
        "zh": "本系统还没有您的账户，请管理员添加。",
        "en": "You have no account here yet: ask an administrator to add you.",
    },
    "oidc_refused.name_taken": {
        "zh": "这个用户名在本系统已有人使用，请管理员把您的统一登录与账户关联。",
        "en": "Your name stands for somebody here already: ask an administrator to link your account.",
    },
    "oidc_refused.no_name": {
        "zh": "统一登录没有给出可用的用户名，请告知管理员。",
        "en": "Your sign-in gives no name that can be used here: tell an administrator.",
    },
    "oidc_refused.no_role": {
        "zh": "您在统一登录中没有本系统的角色，请向单位申请。",
        "en": "Your organisation has given you no role in this system: ask for one there.",
    },
    "oidc_refused.no_place": {
        "zh": "您的角色没有对应的辖区或机构，请告知管理员。",
        "en": "Your role comes with no district or institution that is known here: tell an administrator.",
    },
    "oidc_refused.disabled": {
        "zh": "您的账户已停用，请联系管理员。", "en": "Your account is disabled: ask an administrator.",
    },
    # the menu
    "menu_account": {"zh": "我的账户", "en": "My account"},
    "menu_users": {"zh": "用户", "en": "Users"},
    # one's own account
    "account_title": {"zh": "我的账户", "en": "My account"},
    "account_name": {"zh": "用户名", "en": "Name"},
    "account_person": {"zh": "姓名", "en": "Person"},
    "account_role": {"zh": "角色", "en": "Role"},
    "account_may": {"zh": "可以", "en": "May"},
    "account_sees": {"zh": "可见范围", "en": "Sees"},
    "account_every_district": {"zh": "全部辖区", "en": "every district"},
    "account_only_institution": {"zh": "仅本机构：{uscc}", "en": "only the institution {uscc}"},
    "account_key": {
        "zh": "这是访问密钥 {name} 的会话，没有密码。",
        "en": "This is the key {name}; it has no password.",
    },
    "account_key_of": {"zh": "密钥属于 {owner}", "en": "the key of {owner}"},
    "account_elsewhere": {"zh": "统一登录", "en": "Signs in at"},
    "account_password": {"zh": "修改密码", "en": "Change my password"},
    "account_password_set": {"zh": "上次设置：{at}", "en": "last set {at}"},
    "account_password_none": {
        "zh": "没有本系统的密码：只能通过统一登录。", "en": "No password here: you sign in at your organisation only.",
    },
    "account_password_old": {"zh": "现在的密码", "en": "Password until now"},
    "account_password_new": {"zh": "新密码", "en": "New password"},
    "account_password_again": {"zh": "再输入一次新密码", "en": "New password again"},
    "account_password_rules": {
        "zh": "至少 12 个字符，几个词连在一起就很好；不要用常见密码，不要含用户名。修改后，您在别处的登录会退出。",
        "en": "At least 12 characters: a few words in a row are good. No common password, and not your name. Your"
        " sessions elsewhere end.",
    },
    "account_password_change": {"zh": "修改密码", "en": "Change the password"},
    "account_changed": {
        "zh": "密码已修改，别处 {count} 个会话已退出。",
        "en": "The password is changed; {count} sessions elsewhere ended.",
    },
    "password_not_same": {"zh": "两次输入的新密码不一致。", "en": "The two new passwords are not the same."},
    "password_wrong": {"zh": "现在的密码不对。", "en": "The password until now is not right."},
    "password_locked": {
        "zh": "错误次数太多，请 15 分钟后再试。", "en": "Too many wrong passwords: try again in 15 minutes.",
    },
    "password_same": {"zh": "新密码与现在的相同。", "en": "The new password is the one until now."},
    "account_sessions": {"zh": "我的登录", "en": "Where I am signed in"},
    "account_sessions_hint": {
        "zh": "不认识的登录，请退出并修改密码。", "en": "Sign out what you do not recognise, and change your password.",
    },
    "session_this": {"zh": "当前", "en": "this one"},
    "session_address": {"zh": "地址", "en": "From"},
    "session_agent": {"zh": "浏览器", "en": "Browser"},
    "session_began": {"zh": "登录时间", "en": "Since"},
    "session_seen": {"zh": "最近使用", "en": "Last used"},
    "session_ends": {"zh": "最迟到", "en": "Ends"},
    "session_out": {"zh": "退出", "en": "Sign out"},
    "session_out_of": {"zh": "退出来自 {address} 的登录", "en": "Sign out the session from {address}"},
    "session_out_others": {"zh": "退出其他全部登录", "en": "Sign out everywhere else"},
    "session_gone": {"zh": "该登录已经退出。", "en": "This session has ended already."},
    "account_signed_out": {"zh": "已退出 {count} 个登录。", "en": "{count} sessions ended."},
    # users
    "people_parts": {"zh": "用户与密钥", "en": "People and keys"},
    "tab_users": {"zh": "用户", "en": "Users"},
    "tab_keys": {"zh": "访问密钥", "en": "API keys"},
    "users_title": {"zh": "用户", "en": "Users"},
    "users_text": {
        "zh": "谁可以登录、做什么、看到哪里。改动从对方的下一次操作起生效，并记入审计。",
        "en": "Who may sign in, for what and where. A change holds from their next request on, and is in the audit"
        " record.",
    },
    "people_more": {"zh": "下一页", "en": "Next page"},
    "users_none": {
        "zh": "还没有您可以管理的用户：请在下方添加。",
        "en": "Nobody to look after yet: add somebody below.",
    },
    "user_state": {"zh": "状态", "en": "State"},
    "user_state.open": {"zh": "正常", "en": "open"},
    "user_state.disabled": {"zh": "已停用", "en": "disabled"},
    "user_since": {"zh": "添加时间", "en": "Added"},
    "user_disabled_since": {"zh": "停用时间", "en": "Disabled since"},
    "user_locked": {"zh": "密码错误过多，锁定至 {at}", "en": "locked until {at} after wrong passwords"},
    "user_no_password": {"zh": "没有密码，只能统一登录", "en": "no password: signs in elsewhere only"},
    "user_not_found": {"zh": "没有这个用户", "en": "There is no such user"},
    "user_not_found_text": {
        "zh": "没有用户 {name}，或不在您的管理范围内。",
        "en": "There is no user {name}, or they are not yours to look after.",
    },
    "user_back": {"zh": "返回用户列表", "en": "Back to the users"},
    "user_add": {"zh": "添加用户", "en": "Add a user"},
    "user_add_do": {"zh": "添加", "en": "Add"},
    "user_name_hint": {
        "zh": "小写字母开头，2 到 32 位：a-z 0-9 . _ -。用过的名字不能再给别人。",
        "en": "2 to 32 of a-z 0-9 . _ -, a letter first. A name stands for one person for good.",
    },
    "user_districts": {"zh": "辖区代码（空格分隔，如 5103）", "en": "Districts, by code (5103), with spaces between"},
    "user_districts_hint": {"zh": "留空为全部辖区。", "en": "Empty: every district."},
    "user_districts_hint_own": {"zh": "只能在您的辖区之内：{codes}", "en": "Within your own: {codes}"},
    "user_uscc": {"zh": "机构代码（仅“机构”角色）", "en": "USCC, for the role institution"},
    "user_password_how": {"zh": "密码", "en": "Password"},
    "user_password_generate": {"zh": "生成一个，只显示一次", "en": "make one, shown once"},
    "user_password_none": {"zh": "不设密码，只用统一登录", "en": "none: signs in elsewhere"},
    "user_place": {"zh": "角色与范围", "en": "Role and districts"},
    "user_place_do": {"zh": "保存", "en": "Save"},
    "user_place_outside": {
        "zh": "统一登录按组给角色时，下次登录会以那里的为准。",
        "en": "Where the organisation's sign-in says the role, its word holds again at the next sign-in.",
    },
    "user_own": {
        "zh": "这是您自己的账户：角色、辖区和停用须由另一位管理员来改。",
        "en": "This is your own account: another administrator changes its role and districts, or disables it.",
    },
    "user_account": {"zh": "账户", "en": "Account"},
    "user_disable": {"zh": "停用", "en": "Disable"},
    "user_disable_hint": {
        "zh": "停用后不能登录，全部登录立即退出；名字仍归此人。",
        "en": "They cannot sign in and all sessions end; the name stays theirs.",
    },
    "user_enable": {"zh": "启用", "en": "Enable"},
    "user_reset": {"zh": "重设密码", "en": "Reset the password"},
    "user_reset_hint": {
        "zh": "生成新密码，只显示一次；全部登录退出，锁定解除。",
        "en": "Makes one, shown once; all sessions end, a lock too.",
    },
    "user_unlink": {"zh": "解除统一登录关联", "en": "Unlink"},
    "user_sign_out": {"zh": "退出全部登录", "en": "Sign out everywhere"},
    "user_sessions": {"zh": "当前登录", "en": "Signed in now"},
    "user_sessions_none": {"zh": "当前没有登录。", "en": "Not signed in."},
    "user_keys": {"zh": "此人的密钥", "en": "Their keys"},
    "user_done.placed": {"zh": "角色与范围已保存。", "en": "Role and districts are saved."},
    "user_done.disabled": {"zh": "已停用，登录已退出。", "en": "Disabled; their sessions ended."},
    "user_done.enabled": {"zh": "已启用。", "en": "Enabled."},
    "user_done.signed_out": {"zh": "已退出全部登录。", "en": "Signed out everywhere."},
    "user_done.unlinked": {"zh": "已解除关联。", "en": "Unlinked."},
    "user_done.shown": {
        "zh": "已经做过了；密码只在第一次显示。",
        "en": "This was done already; the password was shown the first time only.",
    },
    "user_done.added": {"zh": "已添加。", "en": "Added."},
    "user_secret": {"zh": "{name} 的密码，只显示这一次", "en": "The password of {name}, shown this once"},
    "user_secret_hint": {
        "zh": "请当面或用安全方式交给本人，请其登录后在“我的账户”中修改。",
        "en": "Hand it over in person; they change it on “My account”.",
    },
    "role.viewer": {"zh": "查看", "en": "viewer"},
    "role.staff": {"zh": "工作人员", "en": "staff"},
    "role.regulator": {"zh": "监管", "en": "regulator"},
    "role.auditor": {"zh": "审计", "en": "auditor"},
    "role.admin": {"zh": "管理员", "en": "admin"},
    "role.institution": {"zh": "机构", "en": "institution"},
    "permission.read": {"zh": "查看账户、预警、案件、对账", "en": "read accounts, alerts, cases, reconciliations"},
    "permission.feed": {"zh": "订阅预警流", "en": "the feed"},
    "permission.operations": {"zh": "查看运行状况", "en": "operations"},
    "permission.decide": {"zh": "处置预警、推进案件、发起对账", "en": "decide alerts, move cases, reconcile"},
    "permission.import": {"zh": "导入文件", "en": "import files"},
    "permission.note": {"zh": "为案件补充说明和材料", "en": "notes and documents of cases"},
    "permission.answer": {"zh": "答复本机构的案件", "en": "answer one's own cases"},
    "permission.confirm": {"zh": "复核（第二人）", "en": "confirm as second person"},
    "permission.audit": {"zh": "查看审计", "en": "the audit record"},
    "permission.metrics": {"zh": "查看程序指标", "en": "metrics"},
    "permission.admin": {"zh": "管理用户和密钥", "en": "users and keys"},
    # what is refused, as the command line says it
    "people_role_wrong": {"zh": "请选择角色。", "en": "Choose a role."},
    "people_refused": {"zh": "没有执行：{why}", "en": "Not done: {why}."},
    # keys
    "key_page_title": {"zh": "访问密钥", "en": "API keys"},
    "key_page_text": {
        "zh": "程序用密钥访问；密钥只显示一次，系统只保存摘要。",
        "en": "What programs come with. Shown once; only its hash is kept.",
    },
    "key_new": {"zh": "建立密钥", "en": "Make a key"},
    "key_called": {"zh": "名称", "en": "Name"},
    "key_scopes": {"zh": "权限", "en": "Scopes"},
    "key_owner": {"zh": "属于", "en": "Whose"},
    "key_owner_hint": {
        "zh": "留空为不属于任何人、可见全部辖区的只读密钥。会处置、导入或管理的密钥只能属于自己。",
        "en": "Empty: nobody's, seeing every district, to read only. A key that decides, imports or administers is your"
        " own.",
    },
    "key_owner_hint_own": {
        "zh": "填写您管理范围内的用户名。会处置、导入或管理的密钥只能属于自己。",
        "en": "Somebody whom you look after. A key that decides, imports or administers is your own.",
    },
    "key_nobody": {"zh": "不属于任何人", "en": "nobody's"},
    "key_made_at": {"zh": "建立时间", "en": "Made"},
    "key_part": {"zh": "限于", "en": "Only"},
    "key_none_yet": {"zh": "还没有密钥。", "en": "No keys yet."},
    "key_shown_before": {
        "zh": "密钥已建立，只在第一次显示。", "en": "The key was made already, and shown the first time only.",
    },
    "scope.read": {"zh": "查看", "en": "read"},
    "scope.feed": {"zh": "预警流", "en": "feed"},
    "scope.decide": {"zh": "处置", "en": "decide"},
    "scope.answer": {"zh": "答复", "en": "answer"},
    "scope.import": {"zh": "导入", "en": "import"},
    "scope.metrics": {"zh": "指标", "en": "metrics"},
    "scope.admin": {"zh": "管理", "en": "admin"},
}
