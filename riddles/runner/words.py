"""What an answer says, in whatever words: English or Chinese, in any order and form.

An answer is read as a set of *concepts*, such as `user`, `v2` and `fails`. A riddle says which it needs. An answer
with a part of the system or a cause that has nothing to do with it is wrong, so a list of all words is wrong, too.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from enum import Enum

# The words of each concept: in English by their forms, where `*` is any ending and `_` a space, a hyphen or nothing;
# and in Chinese. Parts of the system, and its users:
PLACES = {
    "user": ("user profile profiles", "用户服务 个人资料"),
    "v1": ("v1", ""),
    "v2": ("v2", ""),
    "rule": ("rule rules", "列表服务 规则服务"),
    "todolist": ("todolist gateway", "网关"),
    "ingress": ("ingress door entrance", "入口 门口 大门"),
    "database": (
        "database databases data_base db sqlite postgres* disk disks storage commit commits transaction transactions",
        "数据库 磁盘 存储 事务",
    ),
    "events": ("event events bell notice notices notification notifications", "事件 通知 铃"),
    "search": ("search*", "搜索 查找 检索"),
    "alice": ("alice lesson_alice", ""),
    "bob": ("bob lesson_bob", ""),
}
# What makes it so.
CAUSES = {
    "split": (
        "split* weight weights weighted subset subsets canary selector selectors label labels distribut* endpoint "
        "endpoints point points pointing misrouted misdirected wrong_address wrong_port",
        "分流 权重 比例 流量分配 灰度 指向 标签",
    ),
    "retries": (
        "retr* re_try re_tries re_tried repeat* resend* resent re_send re_sent storm",
        "重试 重发 再发 再试 反复 风暴",
    ),
    "timeout": (
        "time_out* timed_out times_out timing_out 504 504s deadline* give_up gives_up gave_up giving_up cut_off",
        "超时 时限",
    ),
    "breaker": (
        "circuit* breaker breakers overflow* max_connection* connection connections pool pools pending",
        "熔断 连接数 连接池 溢出",
    ),
    "ejected": (
        "eject* outlier outliers evict* taken_out kicked_out thrown_out put_out unhealthy health_check* banned",
        "驱逐 剔除 摘除 摘出 踢出 移出 异常点 异常检测 离群",
    ),
    "mirror": ("mirror* shadow* copy copies copied copying duplicat*", "镜像 影子 复制 副本 拷贝"),
    "limit": (
        "rate_limit* 429 429s too_many_requests throttl* quota quotas bucket requests_per_* requests_a_second",
        "限流 限速 频率 配额",
    ),
    "lock": ("lock locks locked locking busy contention", "锁"),
    "policy": (
        "policy policies rbac 403 403s deny denies denied denying forbid* authorization authorisation not_allowed "
        "isn't_allowed never_allowed may_not permission permissions access_control access_denied",
        "策略 禁止 授权 权限 不允许 不准 不许",
    ),
    "key": (
        "jwt jwts jwks token tokens sign signed signing signature signatures key keys issuer audience",
        "令牌 密钥 公钥 签名 凭证",
    ),
    "cold": (
        "cold asleep sleep sleeps sleeping slept wake wakes waking woken woke to_zero serverless idle no_process "
        "no_processes startup start_up start_time boot* on_demand from_zero",
        "冷启动 休眠 睡 唤醒 缩容 缩到 按需启动 启动慢",
    ),
}
# What users see, and what fits everywhere.
SYMPTOMS = {
    "fails": (
        "fail* error errors broke broken break breaks 500 500s 502 502s 503 503s 5xx abort* bad_gateway crash* refus* "
        "reject* unavailable flaky unstable intermittent* faulty buggy bug bugs dead down",
        "失败 报错 出错 错误 坏 挂 拒绝 不可用",
    ),
    "slow": (
        "slow* delay* latency latencies late lag* long second seconds wait* hang hangs hanging "
        "hold_up holds_up held_up hold_back holds_back held_back",
        "慢 延迟 迟 卡 等 拖",
    ),
    "load": ("doubl* twice 2x two_times load* overload* too_many_calls", "两倍 翻倍 加倍 负载 过载 双份 两份 两次"),
    "lopsided": (
        "all every* only always 100 no none nothing never zero starv* instead",
        "全部 全都 都 只有 总是 没有 从不 从来",
    ),
    "blocked": ("block blocks blocked blocking", "阻止 拦截 挡"),
    "routed": ("route routes routed routing", "路由"),
    "session": (
        "session sessions 401 401s unauthorized unauthorised cookie cookies log_in login logins logged_in log_out "
        "logout logged_out",
        "会话 登录 登出",
    ),
    "crowd": ("concurren* in_parallel at_once at_the_same_time queue*", "并发 同时 排队"),
    "limited": ("limit* only_one one_at_a_time one_by_one one_call one_request too_few", "限制 太少"),
    "proxy": ("proxy proxies envoy sidecar sidecars mesh", "代理 网格"),
    "person": ("person persons somebody someone end_user account individual", "个人 某人 某个 特定 账号 个别 单个"),
}
# Symptoms that also count as places.
AS_PLACES = {"person", "proxy"}


def pattern_of(english: str, chinese: str) -> re.Pattern[str]:
    """Return a pattern for the words of a concept."""
    forms = "|".join(re.escape(form).replace(r"\*", r"\w*").replace("_", "[ _-]?") for form in english.split())
    return re.compile("|".join((rf"\b(?:{forms})\b", *chinese.split())))


CONCEPTS_IN_WORDS = {**PLACES, **CAUSES, **SYMPTOMS}
CONCEPTS = {name: pattern_of(*words) for name, words in CONCEPTS_IN_WORDS.items()}

# Written in one way before concepts are looked for.
SAME = (
    (r"[’`]", "'"),
    (r"_", " "),
    # Words of several meanings.
    (r"\b(mirror|mirroring|retry|timeout|outlier detection|rate limit|routing|circuit breaker) polic(y|ies)\b", r"\1"),
    (r"\bdestination ?rules?\b", " subset "),
    (r"\bbad gateway\b", " 502 "),
    (r"\bgateway time-?out\b", " 504 "),
    (
        r"\bversion\s*([12])\b|\bver\.?\s*([12])\b|版本\s*([12])|第?([12])\s*版|\bv\s+([12])\b|\bv-([12])\b",
        r" v\1\2\3\4\5\6 ",
    ),
    (r"(版本|第)\s*一(版)?", " v1 "),
    (r"(版本|第)\s*二(版)?", " v2 "),
    (r"\b(user|rule)[-_/ ]?v?([12])\b", r"\1 v\2"),
    (
        r"\b(send|sends|sent|sending|try|tries|tried|trying)\b([^.,;:]{0,40}?)\b(again|over and over)\b",
        r" retries \2 ",
    ),
    # Words that are a service's name here, and something else elsewhere.
    (
        r"\b(rout(e|ing)|proxy|header|a) rules?\b|\brules? (of|in) (the|a) (proxy|mesh|sidecar)\b",
        " route of the proxy ",
    ),
    (r"\b(calls?|requests?|reads?) for user\b", r"\1 to user"),
    (
        r"\b(one|an?|single|some|certain|particular|specific|this|that|each|every|all|any|other|logged-in|for) users?\b"
        r"|\busers\b|(一|某|单)(个|位|名)?用户|(特定|个别|有的|部分|该)用户",
        " person ",
    ),
    (r"\b(out of|into|from|in) the pool\b", " "),
    (r"\btoken bucket\b", " rate limit "),
    (r"\bfor the user\b(?! service| v[12])", " person "),
    # Looks like a denial, but describes a failure.
    (
        r"\b(does|do|did|is|are|can|could|will)(n't| ?not) (answer|respond|work|reach|arrive|come|get through)\w*"
        r"|不响应|无响应|没响应|没反应|不工作",
        " fails ",
    ),
)
CLAUSES = re.compile(r"[.,;:!?()\n，。；：！？（）]+|\bbut\b|\bwhile\b|\bwhereas\b|(?:而|但是|不过|但)(?=\S)")
PARTS = re.compile(r"\band\b|\bplus\b|&|\+|以及|并且|另外|还有|同时还|和|、")
# A clause that rules something out: it is not counted as a guess.
CLEARED = re.compile(
    r"\b(fine|ok|okay|healthy|normal|innocent|well|works|unaffected|good)\b|正常|没问题|没有问题|无关|没事|不受影响"
)
DENIED = re.compile(r"^\s*(it('s| is) )?(not|no|isn't)\b|^\s*(并?不是|并非|没有)")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    needs: one concept of each list; fits: others that are allowed; never: not allowed unless a cause is named.
    """

    needs: list[list[str]]
    fits: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)


class Verdict(Enum):
    """The verdict on an answer."""

    RIGHT = "right"
    PARTLY = "one of several is right"
    SYMPTOM = "says what users see, and not what makes it so"
    UNCLEAR = "lacks a place or a kind"
    WRONG = "wrong"


def concepts(text: str) -> set[str]:
    """Return the concepts in a text."""
    return {name for name, pattern in CONCEPTS.items() if pattern.search(text)}


def clauses(answer: str) -> list[str]:
    """Return the clauses of an answer in one way of writing, without those that rule something out."""
    text = unicodedata.normalize("NFKC", answer).casefold()
    for pattern, one_way in SAME:
        text = re.sub(pattern, one_way, text)
    return [clause for clause in CLAUSES.split(text) if clause.strip() and not is_acquittal(clause)]


def is_acquittal(clause: str) -> bool:
    """Say whether a clause says what is not wrong."""
    accuses = concepts(clause) & {*CAUSES, "fails", "slow"}
    return bool(DENIED.search(clause) or (CLEARED.search(clause) and not accuses))


def judge(answer: str, findings: list[Finding]) -> Verdict:
    """Say what becomes of an answer."""
    said = clauses(answer)
    named = set().union(*map(concepts, said))
    wanted = {concept for finding in findings for named_ in (*finding.needs, finding.fits) for concept in named_}
    if named & {*PLACES, *CAUSES} - wanted:
        return Verdict.WRONG
    groups = [named] if len(findings) == 1 else grouped(said)
    met = [any(is_met(finding, group) for group in groups) for finding in findings]
    if all(met):
        return Verdict.RIGHT
    if any(met):
        return Verdict.PARTLY
    if not named & {*PLACES, *AS_PLACES} or not named & ({*CAUSES, *SYMPTOMS} - AS_PLACES):
        return Verdict.UNCLEAR
    needs_cause = any(set(need) & {*CAUSES} for finding in findings for need in finding.needs)
    return Verdict.SYMPTOM if needs_cause and not named & {*CAUSES} else Verdict.WRONG


def grouped(said: list[str]) -> list[set[str]]:
    """Return one group for each thing that is wrong: a place begins a new one if the last has a place and says what."""
    groups: list[set[str]] = [set()]
    for part in (concepts(part) for clause in said for part in PARTS.split(clause)):
        if part & {*PLACES} and groups[-1] & {*PLACES} and groups[-1] & ({*CAUSES, *SYMPTOMS} - AS_PLACES):
            groups.append(set())
        groups[-1] |= part
    return groups


def is_met(finding: Finding, named: set[str]) -> bool:
    """Say whether everything is named that a finding needs."""
    is_excluded = named & set(finding.never) and not named & {*CAUSES}
    return not is_excluded and all(named & set(need) for need in finding.needs)
