"""The page's colours, for light and dark, and which bucket of an account has which. Plain values.

Every fill keeps 4.5 : 1 against the number printed on it and against the page (WCAG 2.2, 1.4.3 and 1.4.11), in both
themes; hues follow Okabe and Ito, darkened or lightened until they do. Nothing is told by colour alone.
"""

THEMES = ("light", "dark")

# role -> (light, dark); a chart names roles, the style sheet gives each its colour
ROLES: dict[str, tuple[str, str]] = {
    "page": ("#ffffff", "#14171c"),
    "panel": ("#f6f7f9", "#1c2027"),
    "line": ("#d9dde3", "#343a44"),
    "ink": ("#16181d", "#eceef2"),
    "quiet": ("#575f6b", "#a7afbb"),
    "link": ("#0b5fa5", "#7dbcf5"),
    "good": ("#146c43", "#5fd0a0"),
    "bad": ("#a8200d", "#ff9a85"),
    "unknown": ("#6b4b00", "#e6c063"),
    "on_fill": ("#ffffff", "#14171c"),
    "cpu": ("#0b5fa5", "#5aa9f0"),
    "gil_held": ("#123a63", "#a9d4ff"),
    "gil_wait": ("#b93a0c", "#ff9466"),
    "run_queue": ("#855a00", "#e8b84a"),
    "network": ("#00735c", "#35c29a"),
    "blocked": ("#3f6f8f", "#86b3cf"),
    "output_blocked": ("#a03a7c", "#ec93cb"),
    "starved": ("#69727e", "#97a0ad"),
    "retry_wait": ("#5b6b2f", "#b5c77a"),
    "pause_wait": ("#8a3b52", "#e79ab0"),
    "ipc": ("#6b3fb0", "#b79bf2"),
    "startup": ("#7a4f2a", "#cfa57a"),
    "unstaffed": ("#dfe3e8", "#343a44"),
    "unexplained": ("#16181d", "#f2f4f7"),
}

# bucket of an account -> (role, what people call it), in the order to show them
BUCKETS: dict[str, tuple[str, str]] = {
    "cpu": ("cpu", "computing"),
    "cpu_gil_free": ("cpu", "computing, without the GIL"),
    "cpu_gil_held": ("gil_held", "computing, holding the GIL"),
    "gil_wait": ("gil_wait", "waiting for the GIL"),
    "run_queue": ("run_queue", "ready, but no core was free"),
    "network": ("network", "waiting for the network"),
    "disk_or_lock": ("blocked", "waiting for the disk or a lock"),
    "blocked": ("blocked", "blocked, cause unknown"),
    "output_blocked": ("output_blocked", "finished, waiting for room behind it"),
    "starved": ("starved", "idle: nothing to work on"),
    "retry_wait": ("retry_wait", "waiting for a retry"),
    "pause_wait": ("pause_wait", "waiting for a paused or paced host"),
    "ipc": ("ipc", "handing over between processes"),
    "startup": ("startup", "starting up"),
    "unstaffed": ("unstaffed", "worker not running"),
    "unexplained": ("unexplained", "unexplained"),
}

_SENTINEL = "#c0ff{:02x}"
_NUMBERS = {role: number for number, role in enumerate(ROLES)}


def stand_in(role: str) -> str:
    """A colour that the chart library can draw with; `svg.py` puts the role's CSS variable in its place."""
    return _SENTINEL.format(_NUMBERS[role])


def stand_ins() -> dict[str, str]:
    """Stand-in colour -> CSS reference."""
    return {stand_in(role): css_reference(role) for role in ROLES}


def css_reference(role: str) -> str:
    """As `var(--cpu)`."""
    return f"var(--{role.replace('_', '-')})"


def css_variables(theme: str) -> str:
    """The declarations of one theme."""
    at = THEMES.index(theme)
    return "".join(f"--{role.replace('_', '-')}:{pair[at]};" for role, pair in ROLES.items())
