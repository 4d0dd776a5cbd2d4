"""Magic: what a file is by its first octets, whatever it is called.

Promises: `kinds` looks at the octets given and no others; a file may be several things at once. A
kind is a type and the endings that files of it have. Text has no mark: it is never found here.
"""

from __future__ import annotations

import re
from functools import cache

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """endings: without the dot, in lower case. shell: such files also are what others build upon
    (a .docx is a zip); then their name may say which it is."""

    type: str
    endings: tuple[str, ...]
    shell: frozenset[str] = frozenset()

    def allows(self, ending: str) -> bool:
        """Whether a file of this kind may rightly be called so, and be something else than others
        of it."""
        return bool(self.shell) and (ending in self.shell or ending in self.endings)


_LINES = """
video/quicktime: mov qt
video/mp4: mp4 m4v mp4v
video/3gpp: 3gp 3g2
video/x-msvideo: avi
video/x-matroska: mkv mka mks
video/webm: webm
video/mpeg: mpg mpeg mpe m1v m2v vob
video/mp2t: ts m2ts mts
video/x-ms-asf: wmv wma asf
video/x-flv: flv f4v
audio/mpeg: mp3 mp2
audio/mp4: m4a m4b aac
audio/ogg: ogg oga ogv opus
audio/flac: flac
audio/x-wav: wav
audio/aiff: aif aiff aifc
audio/midi: mid midi
image/jpeg: jpg jpeg jpe jfif
image/png: png
image/gif: gif
image/bmp: bmp dib
image/tiff: tif tiff
image/webp: webp
image/heic: heic heif
image/avif: avif
image/x-icon: ico cur
image/vnd.adobe.photoshop: psd
application/pdf: pdf
application/postscript: ps eps ai
application/rtf: rtf
application/msword: doc dot
application/vnd.ms-excel: xls xlt xla
application/vnd.ms-powerpoint: ppt pps pot
application/vnd.ms-outlook: msg
application/x-ole-storage: doc dot xls xlt xla ppt pps pot msg msi msp mst
application/zip: zip
application/x-rar: rar
application/x-7z-compressed: 7z
application/gzip: gz tgz
application/x-bzip2: bz2 tbz tbz2
application/x-xz: xz txz
application/zstd: zst
application/x-lzip: lz
application/x-lzh: lzh lha
application/x-arj: arj
application/x-ace: ace
application/vnd.ms-cab-compressed: cab
application/x-tar: tar
application/x-cpio: cpio
application/x-archive: a ar deb
application/x-rpm: rpm
application/x-xar: xar pkg
application/x-iso9660-image: iso
application/x-apple-diskimage: dmg
application/x-vhd: vhd
application/x-vhdx: vhdx
application/x-msdownload: exe dll scr com cpl ocx sys drv efi
application/x-executable: elf so o ko axf
application/x-mach-binary: dylib bundle macho
application/java-vm: class
application/java-archive: jar war ear
application/vnd.android.package-archive: apk
application/x-ms-shortcut: lnk
application/vnd.ms-htmlhelp: chm
application/x-shockwave-flash: swf
application/wasm: wasm
application/x-ms-dos-batch: bat cmd
application/x-shellscript: sh
application/hta: hta
application/javascript: js jse mjs
application/vnd.ms-word.document.macroenabled.12: docm
application/vnd.ms-excel.sheet.macroenabled.12: xlsm
application/vnd.ms-powerpoint.presentation.macroenabled.12: pptm
application/onenote: one onetoc2
application/ms-tnef: tnef
application/x-sqlite3: sqlite
application/vnd.tcpdump.pcap: pcap
font/ttf: ttf
font/otf: otf
font/woff: woff
font/woff2: woff2
"""

_SHELLS = {
    "application/zip": (
        "docx docm dotx dotm xlsx xlsm xlsb xltx xltm xlam pptx pptm potx potm ppsx ppsm ppam sldx "
        "vsdx odt ods odp odg odf odb ott ots otp otg epub jar war ear apk aar xpi crx kmz vsix "
        "nupkg whl pages numbers key ipa idml 3mf sketch xps oxps oxt appx msix cbz sb3 mcworld"
    ),
    "application/x-ole-storage": "vsd mpp pub wps msg db xlw mdz",
    "application/x-msdownload": "msstyles mui ax tsp acm rll",
    "application/gzip": "svgz emz wmz dia gnucash vcf-gz adz abw",
    "application/x-rar": "cbr",
    "application/x-7z-compressed": "cb7",
    "application/x-sqlite3": "db gpkg mbtiles sqlite3 db3",
    "application/x-archive": "lib",
    "application/x-shellscript": "py pl rb bash zsh awk tcl txt cgi php lua",
}
"""What others are built upon, and the endings of those."""

KINDS: dict[str, Kind] = {
    name: Kind(name, tuple(endings.split()), frozenset(_SHELLS.get(name, "").split()))
    for name, _, endings in (line.partition(": ") for line in _LINES.strip().split("\n"))
}

# RFC 6838 has no place for what they were called before.
_ALSO = {
    "video/avi": "video/x-msvideo",
    "video/msvideo": "video/x-msvideo",
    "video/x-ms-wmv": "video/x-ms-asf",
    "audio/x-ms-wma": "video/x-ms-asf",
    "audio/x-m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/wav": "audio/x-wav",
    "audio/vnd.wave": "audio/x-wav",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/heif": "image/heic",
    "image/x-ms-bmp": "image/bmp",
    "image/vnd.microsoft.icon": "image/x-icon",
    "application/x-zip": "application/zip",
    "application/x-zip-compressed": "application/zip",
    "application/x-rar-compressed": "application/x-rar",
    "application/vnd.rar": "application/x-rar",
    "application/x-gzip": "application/gzip",
    "application/x-bzip": "application/x-bzip2",
    "application/x-gtar": "application/x-tar",
    "application/x-dosexec": "application/x-msdownload",
    "application/x-msdos-program": "application/x-msdownload",
    "application/vnd.microsoft.portable-executable": "application/x-msdownload",
    "application/x-bat": "application/x-ms-dos-batch",
    "application/x-sh": "application/x-shellscript",
    "application/x-java-archive": "application/java-archive",
    "application/x-javascript": "application/javascript",
    "text/javascript": "application/javascript",
    "text/rtf": "application/rtf",
    "application/vnd.ms-tnef": "application/ms-tnef",
    "application/x-pdf": "application/pdf",
    "application/x-cab": "application/vnd.ms-cab-compressed",
    "application/iso-image": "application/x-iso9660-image",
}

_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"MZ", "application/x-msdownload"),
    (0, b"ZM", "application/x-msdownload"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (0, b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"L\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    (0, b"ITSF", "application/vnd.ms-htmlhelp"),
    (0, b"FWS", "application/x-shockwave-flash"),
    (0, b"CWS", "application/x-shockwave-flash"),
    (0, b"ZWS", "application/x-shockwave-flash"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"#!", "application/x-shellscript"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"PK\x07\x08PK\x03\x04", "application/zip"),
    (0, b"PK00PK\x03\x04", "application/zip"),
    (0, b"Rar!\x1a\x07", "application/x-rar"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"LZIP", "application/x-lzip"),
    (2, b"-lh", "application/x-lzh"),
    (0, b"\x60\xea", "application/x-arj"),
    (7, b"**ACE**", "application/x-ace"),
    (0, b"MSCF", "application/vnd.ms-cab-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"070701", "application/x-cpio"),
    (0, b"070702", "application/x-cpio"),
    (0, b"070707", "application/x-cpio"),
    (0, b"!<arch>\n", "application/x-archive"),
    (0, b"\xed\xab\xee\xdb", "application/x-rpm"),
    (0, b"xar!", "application/x-xar"),
    (0x8001, b"CD001", "application/x-iso9660-image"),
    (0, b"conectix", "application/x-vhd"),
    (0, b"vhdxfile", "application/x-vhdx"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"{\\rt", "application/rtf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "application/onenote"),
    (0, b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"\x1a\x45\xdf\xa3", "video/x-matroska"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"\x00\x00\x01\xb3", "video/mpeg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"MThd", "audio/midi"),
    (0, b"SQLite format 3\x00", "application/x-sqlite3"),
    (0, b"\xd4\xc3\xb2\xa1", "application/vnd.tcpdump.pcap"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"OTTO", "font/otf"),
    (0, b"\x00\x01\x00\x00\x00", "font/ttf"),
)
_RIFF = {b"AVI ": "video/x-msvideo", b"WAVE": "audio/x-wav", b"WEBP": "image/webp"}
_IFF = {b"AIFF": "audio/aiff", b"AIFC": "audio/aiff"}
_ATOMS = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
_BRANDS = (
    (b"qt  ", "video/quicktime"),
    (b"M4A", "audio/mp4"),
    (b"M4B", "audio/mp4"),
    (b"heic", "image/heic"),
    (b"heix", "image/heic"),
    (b"mif1", "image/heic"),
    (b"msf1", "image/heic"),
    (b"avif", "image/avif"),
    (b"3g", "video/3gpp"),
)
_BITMAP = re.compile(rb"BM....\x00\x00\x00\x00.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", re.S)

_TEXTUAL = (b"%PDF-", b"%!PS", b"{\\rt", b"#!", b"GIF87a", b"GIF89a", b"!<arch>\n", b"Rar!")
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_FIRST: dict[int, list[tuple[bytes, str, bool]]] = {}
_BEHIND: list[tuple[int, bytes, str]] = []
for _at, _mark, _type in _MARKS:
    if _at == 0:
        # A text may begin with such letters too.
        _doubtful = _mark.isascii() and _mark.decode().isprintable() and _mark not in _TEXTUAL
        _FIRST.setdefault(_mark[0], []).append((_mark, _type, _doubtful))
    else:
        _BEHIND.append((_at, _mark, _type))

BEHIND_OCTETS = max(at + len(mark) for at, mark, _ in _MARKS)
"""No mark ends further behind."""


def kinds(head: bytes) -> list[Kind]:
    """What a file that begins so may be."""
    if not head:
        return []
    found = [
        name
        for mark, name, doubtful in _FIRST.get(head[0], ())
        if head.startswith(mark) and not (doubtful and _NOT_TEXT.search(head) is None)
    ]
    found += [name for at, mark, name in _BEHIND if head.startswith(mark, at)]
    four = head[4:8]
    if four == b"ftyp":
        found.append(_brand(head))
    elif four in _ATOMS:
        found.append("video/quicktime")
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        found.append(_RIFF[head[8:12]])
    elif head[:4] == b"FORM" and head[8:12] in _IFF:
        found.append(_IFF[head[8:12]])
    elif _BITMAP.match(head):
        found.append("image/bmp")
    elif head[0] == 0xFF and len(head) > 1 and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6):
        found.append("audio/mpeg")
    elif head[0] == 0x47 and head[188:189] == b"G" and head[376:377] == b"G":
        found.append("video/mp2t")
    return [KINDS[name] for name in found]


def _brand(head: bytes) -> str:
    """ISO base media files say what they are: the major brand, then those it is also good for."""
    size = min(int.from_bytes(head[:4], "big"), 256)
    for at in (8, *range(16, size - 3, 4)):
        for brand, name in _BRANDS:
            if head.startswith(brand, at):
                return name
    return "video/mp4"


def named(type: str) -> Kind | None:
    """The kind that a type in lower case names. None: unknown, or text."""
    return KINDS.get(_ALSO.get(type, type))


@cache
def by_ending() -> dict[str, tuple[str, ...]]:
    """The types that a file of that ending may have."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in KINDS.values():
        for ending in kind.endings:
            found[ending] = (*found.get(ending, ()), kind.type)
    return found
