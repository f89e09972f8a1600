import { gzipSync } from "node:zlib";
import { base256, END, entry, gnuLong, packed, pax } from "./archive.js";

/** An archive that must not be unpacked, and what its refusal must say. */
export interface ArchiveAttack {
  readonly name: string;
  /** `dir`: the folder of the host's files, for attacks that know where they are. */
  readonly bytes: (dir: string) => Buffer;
  readonly code: "artifact-unsafe" | "artifact-too-large" | "artifact-unreadable";
  /** What was found, in the error's own words. */
  readonly says: RegExp;
}

/** More than any of them may ever unpack to. */
export const MAX_UNPACKED_BYTES = 8_000_000;

/** Innocent, and in all of them, so that there is something that must not stay behind. */
const good = entry({ path: "teleport/teleport", mode: 0o755, content: "#!/bin/sh\n" });
const file = (path: string, more: object = {}) => entry({ path, content: "evil", ...more });
const folder = (path: string) => entry({ path, type: "5", mode: 0o755 });
const symlink = (path: string, link: string) => entry({ path, type: "2", mode: 0o777, link });
const hardLink = (path: string, link: string) => entry({ path, type: "1", link });
const with_ =
  (...parts: Buffer[]) =>
  () =>
    packed(good, ...parts);

/** Two links, each harmless word by word, that lead out of the folder together. */
const ladder = [folder("teleport/a/b/"), symlink("teleport/a/b/up", "../.."), symlink("teleport/out", "a/b/up/..")];

export const ARCHIVE_ATTACKS: readonly ArchiveAttack[] = [
  // Zip-slip: names that leave the folder (Salt CVE-2020-11652, Nomad CVE-2026-7474).
  unsafe("dot dot", with_(file("teleport/../../../outside")), /outside.* leaves its folder/),
  unsafe("dot dot in the folder that is dropped", with_(file("../teleport/outside")), /outside.* leaves its folder/),
  unsafe("dot dot at the end", with_(file("teleport/..")), /teleport\/\.\.".* leaves its folder/),
  unsafe("dot dot in the header's prefix", with_(file("outside", { prefix: "teleport/../.." })), /leaves its folder/),
  unsafe(
    "dot dot in a pax path",
    with_(pax({ path: "teleport/../../outside" }), file("teleport/x")),
    /leaves its folder/,
  ),
  unsafe(
    "dot dot in a GNU long name",
    with_(gnuLong("teleport/../../outside"), file("teleport/x")),
    /leaves its folder/,
  ),
  unsafe("dot dot in a folder", with_(folder("teleport/../../outside/")), /outside.* leaves its folder/),
  unsafe("absolute path", (dir) => packed(good, file(`${dir}/outside`)), /outside.* has an absolute or odd path/),
  unsafe("absolute pax path", (dir) => packed(good, pax({ path: `${dir}/outside` }), file("teleport/x")), /absolute/),
  unsafe("backslashes", with_(file("teleport\\..\\..\\outside")), /odd path|leaves its folder/),
  unsafe("outside the one folder", with_(file("README")), /README.* outside/),
  unsafe("a second folder beside the first", with_(file("other/tctl")), /other\/tctl.* does not lie in "teleport"/),

  // Links.
  unsafe("link to an absolute path", with_(symlink("teleport/l", "/etc/passwd")), /teleport\/l.*\/etc\/passwd/),
  unsafe("link upward", with_(symlink("teleport/l", "../../outside")), /teleport\/l.*leaves its folder.*outside/),
  unsafe(
    "link upward in a pax record",
    with_(pax({ linkpath: "../../outside" }), symlink("teleport/l", "teleport")),
    /leaves its folder/,
  ),
  unsafe(
    "link upward in a GNU long link",
    with_(gnuLong("../../outside", "K"), symlink("teleport/l", "teleport")),
    /leaves its folder/,
  ),
  unsafe("links that lead out together", with_(...ladder), /out.*(leaves its folder|below)/),
  unsafe("file through a link", with_(symlink("teleport/d", "../.."), file("teleport/d/outside")), /teleport\/d/),
  unsafe(
    "file through a link inside",
    with_(folder("teleport/s/"), symlink("teleport/d", "s"), file("teleport/d/x")),
    /teleport\/d/,
  ),
  unsafe("link through links that lead out", with_(...ladder, symlink("teleport/out/planted", "teleport")), /out/),
  unsafe(
    "hard link, with content, through links that lead out",
    with_(...ladder, hardLink("teleport/out/planted", "teleport/teleport")),
    /out/,
  ),
  unsafe("folder through links that lead out", with_(...ladder, folder("teleport/out/planted/")), /out/),
  unsafe(
    "folder of a link through links that lead out",
    with_(...ladder, symlink("teleport/out/planted/l", "x")),
    /out/,
  ),
  unsafe("link to nowhere", with_(symlink("teleport/l", "nowhere")), /teleport\/l|"l".*nowhere/),
  unsafe("link to itself", with_(symlink("teleport/l", "l")), /"l".*nowhere|teleport\/l/),
  unsafe("links in a circle", with_(symlink("teleport/l", "m"), symlink("teleport/m", "l")), /nowhere/),
  unsafe(
    "link in place of the program",
    with_(symlink("teleport/teleport", "x"), file("teleport/x")),
    /teleport.* twice/,
  ),
  unsafe("hard link outside", with_(hardLink("teleport/h", "../../outside")), /teleport\/h.*leaves its folder/),
  unsafe("hard link to an absolute path", with_(hardLink("teleport/h", "/etc/shadow")), /teleport\/h.*absolute/),
  unsafe("hard link to what is not in it", with_(hardLink("teleport/h", "teleport/stranger")), /stranger.*not there/),
  unsafe(
    "hard link to a link",
    with_(symlink("teleport/l", "teleport"), hardLink("teleport/h", "teleport/l")),
    /not there/,
  ),

  // What is no file.
  unsafe("character device", with_(entry({ path: "teleport/null", type: "3" })), /teleport\/null.* CharacterDevice/),
  unsafe("block device", with_(entry({ path: "teleport/disk", type: "4" })), /teleport\/disk.* BlockDevice/),
  unsafe("FIFO", with_(entry({ path: "teleport/pipe", type: "6" })), /teleport\/pipe.* FIFO/),
  unsafe(
    "sparse file of a terabyte",
    with_(entry({ path: "teleport/hole", type: "S", size: base256(1n << 40n) })),
    /hole.* SparseFile/,
  ),
  unsafe(
    "sparse file in pax records",
    with_(pax({ "GNU.sparse.major": "1", "GNU.sparse.realsize": String(2 ** 40) }), file("teleport/hole")),
    /GNU\.sparse/,
  ),
  unsafe("an entry of a kind that nobody knows", with_(entry({ path: "teleport/odd", type: "Z" })), /teleport\/odd/),
  unsafe("a continued volume", with_(entry({ path: "teleport/odd", type: "M" })), /teleport\/odd/),

  // Rights.
  unsafe("set-uid", with_(file("teleport/root", { mode: 0o4755 })), /teleport\/root.* setuid/),
  unsafe("set-gid", with_(file("teleport/root", { mode: 0o2755 })), /teleport\/root.* setgid/),
  unsafe("set-uid in a pax record", with_(pax({ mode: String(0o4755) }), file("teleport/root")), /mode|setuid/),
  unsafe(
    "a capability among the attributes",
    with_(pax({ "SCHILY.xattr.security.capability": "x" }), file("teleport/root")),
    /SCHILY\.xattr/,
  ),
  unsafe("an ACL", with_(pax({ "SCHILY.acl.access": "user:1000:rwx" }), file("teleport/root")), /SCHILY\.acl/),
  unsafe(
    "another type in a pax record",
    with_(pax({ type: "SymbolicLink", linkpath: "/etc/passwd" }), file("teleport/l")),
    /type|\/etc\/passwd/,
  ),

  // Names.
  unsafe("twice", with_(file("teleport/teleport")), /teleport\/teleport.* twice/),
  unsafe("twice, spelt differently", with_(file("teleport/.//teleport")), /teleport.* twice/),
  unsafe("twins but for their case", with_(file("teleport/Teleport")), /Teleport.* twin|differs.*case/),
  unsafe(
    "twins but for how a letter is composed",
    with_(file("teleport/caf\u00e9"), file("teleport/cafe\u0301")),
    /caf.*(twin|differs)/,
  ),
  unsafe("below a file", with_(file("teleport/teleport/x")), /teleport\/teleport\/x.* below a file/),
  unsafe("a file where a folder is", with_(folder("teleport/d/"), file("teleport/d")), /teleport\/d.* twice/),
  unsafe("the manifest's own name", with_(file("teleport/.belay-manifest.json")), /manifest/),
  unsafe("a line's end in a name", with_(file("teleport/a\nb")), /control/),
  unsafe("a terminal's escapes in a name", with_(file("teleport/\u001b[2Jcool")), /control/),
  unsafe("a name that reads from right to left", with_(file("teleport/\u202egnp.sh")), /control/),
  unsafe("NUL in a pax path", with_(pax({ path: "teleport/a\0b" }), file("teleport/x")), /NUL|odd|control/),
  unsafe("a name that is no UTF-8", with_(file("", { path: Buffer.from("teleport/\xff\xfe", "latin1") })), /UTF-8/),
  unsafe("a name of 300 characters", with_(gnuLong(`teleport/${"n".repeat(300)}`), file("teleport/x")), /nnn.* long/),
  unsafe(
    "a path of 200,000 characters",
    with_(gnuLong(`teleport/${"n/".repeat(100_000)}x`), file("teleport/x")),
    /n\/n.* (long|deep)/,
  ),
  unsafe(
    "a hundred folders deep",
    with_(pax({ path: `teleport/${"d/".repeat(100)}x` }), file("teleport/x")),
    /d\/d.* deep/,
  ),
  unsafe(
    "an endless extended header",
    with_(entry({ path: "PaxHeader/x", type: "x", content: Buffer.alloc(2_000_000, "1") })),
    /PaxHeader/,
  ),

  // Sizes.
  large("more than it may unpack to", with_(file("teleport/big", { content: Buffer.alloc(MAX_UNPACKED_BYTES) }))),
  large(
    "many small files that are too much together",
    with_(...Array.from({ length: 100 }, (_, n) => file(`teleport/f${n}`, { content: Buffer.alloc(100_000) }))),
  ),
  large(
    "too many names",
    with_(...Array.from({ length: 50_001 }, (_, n) => hardLink(`teleport/f${n}`, "teleport/teleport"))),
    /more than 50000 files/,
  ),
  large(
    "too many folders, in few names",
    with_(
      ...Array.from({ length: 3000 }, (_, n) => pax({ path: `teleport/${n}/${"d/".repeat(28)}x` })).flatMap((said) => [
        said,
        entry({ path: "teleport/x" }),
      ]),
    ),
    /50000|files/,
  ),
  unsafe(
    "a size that a global header belittles",
    () =>
      packed(
        pax({ size: "1" }, "g"),
        pax({ size: "10" }),
        good,
        pax({ size: "64000000" }),
        file("teleport/big", { content: Buffer.alloc(64_000_000) }),
      ),
    /teleport\/teleport.* two sizes, 10 and 1/,
  ),
  large("a size that a pax record makes huge", with_(pax({ size: String(2 ** 50) }), file("teleport/big"))),
  large(
    "a bomb: zeros without end after the end",
    () => gzipSync(Buffer.concat([good, END, Buffer.alloc(200_000_000)]), { level: 9 }),
    /more than/,
  ),
  large(
    "a bomb of headers that make no files",
    with_(...Array.from({ length: 400 }, () => pax({ comment: "c".repeat(900_000) }))),
    /more than/,
  ),
  large(
    "a bomb of folders named again and again",
    with_(...Array.from({ length: 60_000 }, () => folder("teleport/d/"))),
    /50000|files/,
  ),

  // What is no archive.
  broken("cut in the middle of a file", () =>
    gzipSync(Buffer.concat([good, file("teleport/x", { content: Buffer.alloc(5000) })]).subarray(0, 3000)),
  ),
  broken("cut in the middle of its compression", () =>
    cut(packed(good, file("teleport/x", { content: noise(5000) })), 20),
  ),
  broken("no archive at all", () => Buffer.alloc(3000, "noise")),
  broken("an archive in an archive's compression twice", () => gzipSync(packed(good))),
  broken(
    "a second archive behind the first",
    () => Buffer.concat([packed(good), packed(file("teleport/hidden"))]),
    /after|end/,
  ),
  broken("rubbish behind its end", () => Buffer.concat([packed(good), Buffer.from("rubbish, not of its compression")])),
  broken("a header that was tampered with", () => packed(good, bent(file("teleport/x")))),
  unsafe(
    "a negative size",
    with_(entry({ path: "teleport/x", size: base256(-1_000_000n) }), file("teleport/y")),
    /size that is no number/,
  ),
  broken("nothing", () => gzipSync(END)),
];

function unsafe(name: string, bytes: ArchiveAttack["bytes"], says: RegExp): ArchiveAttack {
  return { name, bytes, code: "artifact-unsafe", says };
}

function large(name: string, bytes: ArchiveAttack["bytes"], says = new RegExp(`${MAX_UNPACKED_BYTES}`)): ArchiveAttack {
  return { name, bytes, code: "artifact-too-large", says };
}

function broken(name: string, bytes: ArchiveAttack["bytes"], says = /can't be unpacked: ./): ArchiveAttack {
  return { name, bytes, code: "artifact-unreadable", says };
}

function cut(bytes: Buffer, by: number): Buffer {
  return bytes.subarray(0, bytes.length - by);
}

/** One bit of the name; the checksum stays what it was. */
function bent(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[3] = (copy[3] ?? 0) ^ 1;
  return copy;
}

/** Bytes that don't compress, always the same. */
function noise(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, n) => (n * n * 31 + n * 17) & 0xff));
}
