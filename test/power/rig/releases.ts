import { createHash } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { create } from "tar";

/** What a release holds, known here and nowhere on the disks that lose their power. */
export interface Release {
  version: string;
  /** Path within its folder -> digest of the content; for a link, where it leads. */
  files: ReadonlyMap<string, string>;
  tarball: Buffer;
  sha256: string;
}

/** Folders, files of no, one and many blocks, and a link, as releases have them. */
const SIZES: readonly (readonly [path: string, bytes: number])[] = [
  ["svc", 37_000],
  ["tool", 9_000],
  ["VERSION", 40],
  ["empty", 0],
  ["share/unit.service", 700],
  ["share/deep/er/data", 5_000],
];
const LINK = ["share/svc", "../svc"] as const;
/** Those of them that a host's owner starts by name. */
export const PROGRAMS: readonly string[] = ["svc", "tool"];
const MANIFEST = ".belay-manifest.json";

/** Builds `count` releases below `folder`, which is left empty. */
export async function buildReleases(count: number, folder: string): Promise<Release[]> {
  const releases: Release[] = [];
  for (let n = 1; n <= count; n += 1) {
    const version = `5.0.${n}`;
    const root = join(folder, "pack");
    const files = new Map<string, string>([[LINK[0], LINK[1]]]);
    for (const [path, bytes] of SIZES) {
      const content = contentOf(`${version}/${path}`, bytes);
      mkdirSync(dirname(join(root, "svc", path)), { recursive: true });
      writeFileSync(join(root, "svc", path), content, { mode: modeOf(path) });
      files.set(path, digestOf(content));
    }
    symlinkSync(LINK[1], join(root, "svc", LINK[0]));
    const file = join(folder, "release.tgz");
    await create({ gzip: true, file, cwd: root }, ["svc"]);
    const tarball = readFileSync(file);
    releases.push({ version, files, tarball, sha256: digestOf(tarball) });
    rmSync(root, { recursive: true });
    rmSync(file);
  }
  return releases;
}

/** Throws if there is none. */
export function releaseOf(releases: readonly Release[], version: string): Release {
  const found = releases.find((each) => each.version === version);
  if (found === undefined) throw new Error(`nobody made a version ${version}`);
  return found;
}

/** Lays a release out as if somebody had installed it by hand, with no manifest: all of it, or these files. */
export function installByHand(release: Release, dir: string, only?: readonly string[]): void {
  for (const [path, digest] of release.files) {
    if (only?.includes(path) === false) continue;
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    const bytes = SIZES.find(([each]) => each === path)?.[1];
    if (bytes === undefined) symlinkSync(digest, join(dir, path));
    else writeFileSync(join(dir, path), contentOf(`${release.version}/${path}`, bytes), { mode: modeOf(path) });
  }
}

/**
 * What is wrong with a folder that should hold this release (or `only` these files of it) and nothing else; null: it is whole.
 * `open`: its manifest may just be about to be replaced.
 */
export function damageOf(
  release: Release,
  dir: string,
  { only, open }: { only?: readonly string[]; open: boolean },
): string | null {
  const left = new Map([...release.files].filter(([path]) => only?.includes(path) ?? true));
  for (const entry of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
    const path = join(dir, entry);
    const stat = lstatSync(path);
    if (stat.isDirectory() || entry === MANIFEST || (open && entry === `.${MANIFEST}.belay-new`)) continue;
    const expected = left.get(entry);
    const found = stat.isSymbolicLink() ? readlinkSync(path) : digestOf(readFileSync(path));
    if (expected === undefined) return `${path} does not belong there`;
    if (found !== expected) return `${path} (${stat.size} bytes) is damaged`;
    left.delete(entry);
  }
  return left.size === 0 ? null : `${dir} lacks ${[...left.keys()].join(", ")}`;
}

/** Bytes that compress badly and that follow from a name alone. */
function contentOf(name: string, bytes: number): Buffer {
  const blocks: Buffer[] = [];
  for (let n = 0; n * 32 < bytes; n += 1) blocks.push(createHash("sha256").update(`${name}#${n}`).digest());
  return Buffer.concat(blocks).subarray(0, bytes);
}

function modeOf(path: string): number {
  return PROGRAMS.includes(path) ? 0o755 : 0o644;
}

export function digestOf(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
