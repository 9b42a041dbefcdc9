"""Draws every texture of the mod and its model: `python util/draw.py`, from the mod's folder.

Only the standard library is used, and the same pictures come out each time. The pictures are CC0.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

Colour = tuple[int, int, int]
Pixel = tuple[int, int, int, int]
HERE = Path(__file__).resolve().parent.parent


def rgb(text: str) -> Colour:
    """A colour from "rrggbb"."""
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


class Picture:
    """A small picture that starts out empty.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows: list[list[Pixel]] = [[(0, 0, 0, 0)] * width for _ in range(height)]

    def dot(self, x: int, y: int, colour: Colour, alpha: int = 255) -> None:
        """Set one pixel; outside of the picture nothing happens."""
        if 0 <= x < self.width and 0 <= y < self.height:
            self.rows[y][x] = (*colour, alpha)

    def fill(
        self, x: int, y: int, w: int, h: int, colour: Colour, *, grain: int = 0, alpha: int = 255
    ) -> None:
        """Fill a rectangle; `grain` is how much pixels differ in brightness, as cloth does."""
        for row in range(y, y + h):
            for column in range(x, x + w):
                self.dot(column, row, shade(colour, noise(column, row) * grain), alpha)

    def save(self, path: Path) -> None:
        """Write it as PNG."""
        raw = b"".join(b"\0" + b"".join(bytes(p) for p in row) for row in self.rows)

        def chunk(kind: bytes, data: bytes) -> bytes:
            body = kind + data
            return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

        head = struct.pack(">IIBBBBB", self.width, self.height, 8, 6, 0, 0, 0)
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", head)
            + chunk(b"IDAT", zlib.compress(raw, 9))
            + chunk(b"IEND", b"")
        )


def noise(x: int, y: int) -> float:
    """A number from -1 to 1 that is always the same for a place."""
    value = (x * 374761393 + y * 668265263) & 0xFFFFFFFF
    value = ((value ^ (value >> 13)) * 1274126177) & 0xFFFFFFFF
    return (value >> 16 & 0xFF) / 127.5 - 1


def shade(colour: Colour, by: float) -> Colour:
    """The colour made brighter or darker by so many steps."""
    red, green, blue = (max(0, min(255, round(part + by))) for part in colour)
    return red, green, blue


# The layout of a skin, 64 x 32: part -> side -> (x, y, width, height).
def sides(x: int, y: int, w: int, h: int, d: int) -> dict[str, tuple[int, int, int, int]]:
    """Where the six sides of a box of the size w, h, d lie when it is unfolded at x, y."""
    return {
        "top": (x + d, y, w, d),
        "bottom": (x + d + w, y, w, d),
        "right": (x, y + d, d, h),
        "front": (x + d, y + d, w, h),
        "left": (x + d + w, y + d, d, h),
        "back": (x + d + w + d, y + d, w, h),
    }


PARTS = {
    "head": sides(0, 0, 8, 8, 8),
    "leg": sides(0, 16, 4, 12, 4),
    "body": sides(16, 16, 8, 12, 4),
    "arm": sides(40, 16, 4, 12, 4),
}


class Skin(Picture):
    """A figure, painted part by part."""

    def __init__(self) -> None:
        super().__init__(64, 32)

    def part(self, name: str, colour: Colour, grain: int = 8) -> None:
        """Paint all sides of a part; lower rows and the sides are a little darker."""
        for side, (x, y, w, h) in PARTS[name].items():
            tone = {"top": 6, "bottom": -26, "left": -10, "right": -10, "back": -6}.get(side, 0)
            for row in range(h):
                fall = 0 if side in ("top", "bottom") else -row * 1.2
                for column in range(w):
                    by = tone + fall + noise(x + column, y + row) * grain
                    self.dot(x + column, y + row, shade(colour, by))

    def band(self, name: str, top: int, height: int, colour: Colour, grain: int = 6) -> None:
        """Paint rows of all four sides of a part."""
        for side in ("right", "front", "left", "back"):
            x, y, w, _ = PARTS[name][side]
            self.fill(x, y + top, w, height, colour, grain=grain)

    def on(self, name: str, side: str, rows: list[str], palette: dict[str, Colour]) -> None:
        """Paint letters over a side; a dot leaves what is there."""
        x, y, _, _ = PARTS[name][side]
        for j, row in enumerate(rows):
            for i, letter in enumerate(row):
                if letter in palette:
                    self.dot(x + i, y + j, palette[letter])

    def end(self, name: str, side: str, colour: Colour, grain: int = 4) -> None:
        """Paint one side of a part in one colour."""
        x, y, w, h = PARTS[name][side]
        self.fill(x, y, w, h, colour, grain=grain)


def head(skin: Skin, flesh: Colour, hair: Colour, face: list[str], ink: dict[str, Colour]) -> None:
    """A head with hair around it and a face in front."""
    skin.part("head", flesh, 4)
    skin.end("head", "top", hair, 10)
    for side in ("left", "right"):
        x, y, _, _ = PARTS["head"][side]
        skin.fill(x, y, 8, 3, hair, grain=10)
        back = x + (4 if side == "left" else 0)
        skin.fill(back, y, 4, 7, hair, grain=10)
    skin.end("head", "back", hair, 10)
    skin.on("head", "front", face, ink)


def limbs(skin: Skin, flesh: Colour, sleeve: Colour, leg: Colour, shoe: Colour) -> None:
    """Arms with hands and legs with shoes."""
    skin.part("arm", sleeve)
    skin.band("arm", 10, 2, flesh, 4)
    skin.end("arm", "bottom", shade(flesh, -12))
    skin.part("leg", leg)
    skin.band("leg", 10, 2, shoe, 5)
    skin.end("leg", "bottom", shade(shoe, -15))


def elder_willow() -> Skin:
    """Grey hair, a moss-green robe, a shawl of undyed wool, a leather belt."""
    skin = Skin()
    flesh, hair, robe = rgb("d9a986"), rgb("c9c9c4"), rgb("5c7a45")
    shawl, belt, hem = rgb("cdbd95"), rgb("6b4a2b"), rgb("48612f")
    ink = {
        "h": hair, "H": shade(hair, -22), "w": rgb("f3f1ea"), "e": rgb("4b6b3c"),
        "b": rgb("a9a9a2"), "n": shade(flesh, -18), "m": rgb("9c5b4f"), "r": rgb("dc9c80"),
        "l": shade(flesh, -28),
    }  # fmt: skip
    face = [
        "hhhHhhhh",
        "hhhhhHhh",
        "hh....hh",
        "hbb..bbh",
        "hwe..ewh",
        "hr.nn.rh",
        "Hl....lH",
        "H..mm..H",
    ]
    head(skin, flesh, hair, face, ink)
    # A bun: rings on the back of the head.
    bun = {"d": shade(hair, -34), "i": shade(hair, 18)}
    skin.on("head", "back", ["", "..dddd..", ".diiiid.", ".diddid.", ".diiiid.", "..dddd.."], bun)
    skin.part("body", robe)
    skin.band("body", 0, 4, shawl, 10)
    skin.band("body", 4, 1, shade(shawl, -35), 6)
    skin.end("body", "top", shawl, 8)
    skin.on("body", "front", ["...ff...", "...ss...", "...ss...", "..s..s.."], {
        "f": flesh, "s": shade(shawl, -30)})  # fmt: skip
    skin.band("body", 8, 1, belt, 4)
    skin.on("body", "front", [""] * 8 + ["...gg..."], {"g": rgb("d9b34a")})
    limbs(skin, flesh, robe, robe, belt)
    skin.band("arm", 0, 3, shawl, 10)
    skin.band("arm", 9, 1, hem, 4)
    skin.band("leg", 8, 2, hem, 5)
    return skin


def alchemist() -> Skin:
    """Goggles, ginger hair that stands up, a purple coat with stains, a leather apron."""
    skin = Skin()
    flesh, hair, coat = rgb("e0b08f"), rgb("b5562a"), rgb("5d3f87")
    apron, glove, boot = rgb("8a6a48"), rgb("3c3a44"), rgb("2f2b33")
    ink = {
        "h": hair, "H": shade(hair, 30), "k": rgb("2a2a30"), "g": rgb("7fe3d4"), "G": rgb("d4fff8"),
        "w": rgb("f6f3ee"), "e": rgb("5a3d8a"), "n": shade(flesh, -20), "m": rgb("7d3b33"),
        "t": rgb("fbf8f0"), "s": rgb("8d7263"),
    }  # fmt: skip
    face = [
        "HhhHhHhh",
        "hkkkkkkh",
        "kgGkkgGk",
        "hkk..kkh",
        ".we..ew.",
        "s..nn...",
        "ss.tttm.",
        ".s.mmm..",
    ]
    head(skin, flesh, hair, face, ink)
    for side in ("left", "right", "back"):
        x, y, w, _ = PARTS["head"][side]
        skin.fill(x, y + 1, w, 1, rgb("2a2a30"), grain=4)
    skin.part("body", coat)
    stain = {"p": rgb("79d65c"), "q": rgb("4f9c3c"), "o": rgb("e08a3a")}
    for j in range(2, 12):
        x, y, _, _ = PARTS["body"]["front"]
        inset = 2 if j < 5 else 1
        skin.fill(x + inset, y + j, 8 - 2 * inset, 1, shade(apron, -j), grain=8)
    skin.on("body", "front", ["..a..a..", "..a..a..", "", "", "....p...", "...pp...", "....q..o",
        "..o.....", ".....o..", "..p....."], {**stain, "a": shade(apron, -25)})  # fmt: skip
    straps = ["..a..a..", "...aa...", "...aa...", "..a..a..", "", "", "", "aaaaaaaa"]
    skin.on("body", "back", straps, {"a": shade(apron, -25)})
    limbs(skin, flesh, coat, shade(coat, -22), boot)
    skin.band("arm", 8, 4, glove, 6)
    skin.end("arm", "bottom", shade(glove, -10))
    skin.on("arm", "front", ["", "", "", ".p..", ".pq.", "..q."], stain)
    skin.band("leg", 7, 5, boot, 5)
    return skin


def villager() -> Skin:
    """Anybody: brown hair, a linen shirt, a waistcoat."""
    skin = Skin()
    flesh, hair, shirt = rgb("d8a47f"), rgb("5b3d27"), rgb("d9d0b8")
    vest, trousers, boot = rgb("7a4b34"), rgb("4a5468"), rgb("3b2c22")
    ink = {
        "h": hair, "H": shade(hair, 14), "w": rgb("f5f2ea"), "e": rgb("3f5e86"),
        "b": shade(hair, -6), "n": shade(flesh, -18), "m": rgb("9a574a"),
    }  # fmt: skip
    face = [
        "hHhhhHhh",
        "hhhhhhhh",
        "h.hh..hh",
        ".bb..bb.",
        ".we..ew.",
        "...nn...",
        "........",
        "..mmmm..",
    ]
    head(skin, flesh, hair, face, ink)
    skin.part("body", vest)
    front = ["..ssss..", "...ss...", "...ss...", "...ss...", *["...sd...", "...ss..."] * 2]
    skin.on("body", "front", front, {"s": shirt, "d": shade(vest, -30)})
    skin.band("body", 9, 1, boot, 4)
    limbs(skin, flesh, shirt, trousers, boot)
    return skin


def egg() -> Picture:
    """The shape of an egg in grey, to be multiplied with a colour."""
    picture = Picture(16, 16)
    for y in range(16):
        for x in range(16):
            # Narrow above, wide below.
            half = 5.6 if y > 8 else 5.6 - (8.5 - y) * 0.28
            dx, dy = (x - 7.5) / half, (y - 8.2) / 7.0
            size = dx * dx + dy * dy
            if size <= 1:
                light = 235 - 70 * size - 6 * (x + y - 14) + noise(x, y) * 5
                light = 70 if size > 0.80 else light
                picture.dot(x, y, shade((0, 0, 0), light))
    return picture


def egg_face() -> Picture:
    """What lies over the coloured egg: a speech bubble, for an egg that talks."""
    picture = Picture(16, 16)
    rows = [
        "",
        "",
        "",
        "",
        "",
        "...kkkkkkkk",
        "..kwwwwwwwwk",
        "..kwdwdwdwwk",
        "..kwwwwwwwwk",
        "...kkkwkkkk",
        ".....kwk",
        "......k",
    ]
    ink = {"k": rgb("24262e"), "w": rgb("f7f5ee"), "d": rgb("24262e")}
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            if letter in ink:
                picture.dot(x + 1, y, ink[letter])
    return picture


def panel() -> Picture:
    """The background of the dialogue, 48 x 48, whose middle is stretched: dark wood and a rim."""
    picture = Picture(48, 48)
    rim, edge, wood = rgb("b08d57"), rgb("2a2018"), rgb("2c2621")
    for y in range(48):
        for x in range(48):
            near = min(x, y, 47 - x, 47 - y)
            corner = min(x, 47 - x) + min(y, 47 - y)
            if corner < 3:
                continue
            if near < 1 or corner < 4:
                picture.dot(x, y, edge)
            elif near < 3:
                picture.dot(x, y, shade(rim, -14 * (near - 1) + noise(x, y) * 6))
            elif near < 4:
                picture.dot(x, y, edge)
            else:
                by = noise(x // 6, y) * 3 if near > 11 else noise(x, y) * 2
                picture.dot(x, y, shade(wood, by if near > 11 else by - (11 - near)), 245)
    return picture


# The figure for games whose own is not there: boxes with the sides of a skin.
BOXES = [
    # name, part, x0, y0, z0, x1, y1, z1 in sixteenths of a node's half; y is up, it looks to +z
    ("head", "head", -4, 24, -4, 4, 32, 4),
    ("body", "body", -4, 12, -2, 4, 24, 2),
    ("arm_right", "arm", 4, 12, -2, 8, 24, 2),
    ("arm_left", "arm", -8, 12, -2, -4, 24, 2),
    ("leg_right", "leg", 0, 0, -2, 4, 12, 2),
    ("leg_left", "leg", -4, 0, -2, 0, 12, 2),
]
UNIT = 17.5 / 32  # ten are a node; the figure is 1.75 nodes high


def faces(x0: float, y0: float, z0: float, x1: float, y1: float, z1: float) -> dict[
    str, tuple[list[tuple[float, float, float]], tuple[int, int, int]]
]:  # fmt: skip
    """The corners of each side, from the picture's upper left clockwise, seen from outside."""
    return {
        "front": ([(x1, y1, z1), (x0, y1, z1), (x0, y0, z1), (x1, y0, z1)], (0, 0, 1)),
        "back": ([(x0, y1, z0), (x1, y1, z0), (x1, y0, z0), (x0, y0, z0)], (0, 0, -1)),
        "right": ([(x1, y1, z0), (x1, y1, z1), (x1, y0, z1), (x1, y0, z0)], (1, 0, 0)),
        "left": ([(x0, y1, z1), (x0, y1, z0), (x0, y0, z0), (x0, y0, z1)], (-1, 0, 0)),
        "top": ([(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)], (0, 1, 0)),
        "bottom": ([(x1, y0, z1), (x0, y0, z1), (x0, y0, z0), (x1, y0, z0)], (0, -1, 0)),
    }


def model() -> str:
    """The figure as a Wavefront OBJ.

    The engine mirrors the x axis when it reads the format, so it is written mirrored.
    """
    lines = ["# Drawn by util/draw.py; CC0", "o npc"]
    corners: list[str] = []
    textures: list[str] = []
    normals: list[str] = []
    polygons: list[str] = []
    for _, part, *box in BOXES:
        scaled = [value * UNIT for value in box]
        for side, (points, normal) in faces(*scaled).items():
            x, y, w, h = PARTS[part][side]
            uv = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
            normals.append(f"vn {-normal[0]} {normal[1]} {normal[2]}")
            polygon = []
            for (px, py, pz), (u, v) in zip(points, uv, strict=True):
                corners.append(f"v {-px:g} {py:g} {pz:g}")
                textures.append(f"vt {u / 64:g} {1 - v / 32:g}")
                polygon.append(f"{len(corners)}/{len(textures)}/{len(normals)}")
            polygons.append("f " + " ".join(reversed(polygon)))
    return "\n".join([*lines, *corners, *textures, *normals, *polygons]) + "\n"


PICTURES: dict[str, Callable[[], Picture]] = {
    "llm_agent_npc": villager,
    "llm_agent_elder_willow": elder_willow,
    "llm_agent_alchemist": alchemist,
    "llm_agent_egg": egg,
    "llm_agent_egg_face": egg_face,
    "llm_agent_panel": panel,
}


def main() -> None:
    """Write all files."""
    for name, draw in PICTURES.items():
        draw().save(HERE / "textures" / f"{name}.png")
    (HERE / "models" / "llm_agent_npc.obj").write_text(model(), encoding="ascii")


if __name__ == "__main__":
    main()
