import { lstat, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BelayError, type OpOf } from "@belay/shared";
import { digestOfFile, makeDir, present, switchLink, syncDir, syncTree, writeDurably } from "../durable.js";
import { needRoom } from "../facts/disk.js";
import type { Host } from "../host.js";
import type { Attempt } from "../ops/op.js";
import { installedVersion } from "../versions/installed.js";
import {
  MANIFEST_NAME,
  type ManifestFile,
  type VersionManifest,
  verifyVersion,
  versionDir,
} from "../versions/manifest.js";
import { type Layout, lookAt, programIn, type Standing } from "./look.js";
import { keepOriginal, putOriginalBack } from "./original.js";
import { type Adoption, forgetAdoption, recalledAdoption, rememberAdoption } from "./record.js";
import { isPlainFile, putFile, sameOrCopied } from "./same-file.js";

type Swap = OpOf<"swap">;

/** Inodes for the version's folder and manifest, beside those of the programs. */
const FOLDER_INODES = 8;
const adoptingName = (version: string) => `.belay-${version}.unpacking`;

/**
 * Makes the one link decide on a host that was installed without Belay. Plain files become the folder of version `from`, the
 * link leads there, and each name becomes a link through it by one rename: at every moment each name leads to a whole
 * version. Noted in the journal before the first effect (I7); may be called again after a crash at any line.
 */
export async function adopt(op: Swap, host: Host, attempt: Attempt): Promise<void> {
  const { entry } = op;
  if (entry === undefined || attempt.passed("adopted") !== undefined) return;
  const layout = { entry, link: op.link, versionsDir: op.versionsDir };
  const adoption = (attempt.passed("adopting") as Adoption | undefined) ?? (await whatToAdopt(op, layout, host));
  if (adoption === null) return;
  if (attempt.passed("adopting") === undefined) await attempt.pass("adopting", { ...adoption });
  const dir = versionDir(op.versionsDir, op.from);
  if (!(await present(dir))) await makeFolder(dir, layout, adoption, op.from, host, attempt);
  await sameFiles(dir, layout, adoption, attempt.signal);
  const { earlier: _, ...record } = adoption;
  await rememberAdoption(host.stateDir, op.service, record);
  if ((await installedVersion(op.link, op.versionsDir)) !== op.from) await switchLink(op.link, dir);
  for (const { program, kind } of await lookAt(layout)) {
    if (kind !== "file" && kind !== "link") continue;
    const name = join(entry.dir, program);
    if (kind === "file") await keepOriginal(name, host, attempt.signal);
    await switchLink(name, programIn(op.link, entry, program));
  }
  await attempt.pass("adopted");
}

/** Null: every name that is there leads through the link already. Throws `drift` for what can't be adopted. */
async function whatToAdopt(op: Swap, layout: Layout, { stateDir }: Pick<Host, "stateDir">): Promise<Adoption | null> {
  const standings = await lookAt(layout);
  const foreign = standings.find((each): each is Extract<Standing, { kind: "foreign" }> => each.kind === "foreign");
  if (foreign !== undefined) throw foreignEntry(join(layout.entry.dir, foreign.program), foreign.what);
  const was = standings.filter((each) => each.kind === "file" || each.kind === "link");
  const linked = await present(op.link);
  if (was.length === 0 && (linked || standings.every(({ kind }) => kind === "absent"))) return null;
  const made = !(await present(versionDir(op.versionsDir, op.from)));
  const earlier = await recalledAdoption(stateDir, op.service);
  return { ...layout, from: op.from, was, made, linked, ...(earlier === null ? {} : { earlier }) };
}

/** By one rename, when it is whole. Hard links where they can be: the same file, with all that belongs to it. */
async function makeFolder(
  dir: string,
  layout: Layout,
  { was }: Adoption,
  version: string,
  host: Host,
  attempt: Attempt,
): Promise<void> {
  const { entry, versionsDir } = layout;
  await makeDir(versionsDir);
  const files = was.filter(({ kind }) => kind === "file").map(({ program }) => program);
  const sizes = await Promise.all(files.map(async (program) => (await lstat(join(entry.dir, program))).size));
  // Also where hard links will do: whether they do shows only when they are made (bind mounts stand in their way).
  await needRoom(versionsDir, {
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    inodes: files.length + FOLDER_INODES,
    what: `a copy of the installed ${version}`,
  });
  const temp = join(versionsDir, adoptingName(version));
  await rm(temp, { recursive: true, force: true });
  try {
    await makeDir(join(temp, entry.below));
    const records: ManifestFile[] = [];
    for (const program of files) {
      const copy = programIn(temp, entry, program);
      await sameOrCopied(join(entry.dir, program), copy, host, attempt.signal);
      const { size, mode } = await lstat(copy);
      const path = join(entry.below, program);
      records.push({ path, size, sha256: await digestOfFile(copy, attempt.signal), mode: mode & 0o7777 });
    }
    const manifest: VersionManifest = { version, artifact: { sha256: "", size: 0 }, files: records };
    await writeDurably(join(temp, MANIFEST_NAME), `${JSON.stringify(manifest)}\n`);
    await syncTree(temp);
    await rename(temp, dir);
    await syncDir(versionsDir);
  } catch (error) {
    await rm(temp, { recursive: true, force: true });
    throw error;
  }
}

/** Whatever folder of that version is there, it must hold what is installed now, or a name would lead to something else. */
async function sameFiles(dir: string, { entry }: Layout, { was }: Adoption, signal: AbortSignal): Promise<void> {
  await verifyVersion(dir, null, signal);
  for (const { program, kind } of was) {
    const [name, kept] = [join(entry.dir, program), programIn(dir, entry, program)];
    if (kind !== "file" || !(await lstat(name)).isFile()) continue;
    if ((await present(kept)) && (await digestOfFile(name, signal)) === (await digestOfFile(kept, signal))) continue;
    throw new BelayError("drift", `${name} is not the file that ${dir} holds for this version`, {
      hint: "two builds of one version are on this host: remove the folder, or put its files in place by hand",
      context: { name, kept },
    });
  }
}

/**
 * The opposite: names are files again, or the links they were, exactly; what adoption made is gone. The link must lead to
 * the adopted version. Idempotent.
 */
export async function disown(adoption: Adoption, service: string, host: Host, signal: AbortSignal): Promise<void> {
  const { entry, link, versionsDir, from, was, made, linked, earlier } = adoption;
  const dir = versionDir(versionsDir, from);
  for (const { program, kind, ...before } of was) {
    const name = join(entry.dir, program);
    const kept = programIn(dir, entry, program);
    if (kind === "link" && "target" in before) await switchLink(name, before.target);
    else if (kind === "file" && !(await putOriginalBack(name)) && !(await isPlainFile(name))) {
      await putFile(kept, name, host, signal);
    }
  }
  // Names that an earlier swap adopted still want their way back.
  if (earlier === undefined) await forgetAdoption(host.stateDir, service);
  else await rememberAdoption(host.stateDir, service, earlier);
  if (!linked) {
    await rm(link, { force: true });
    await syncDir(dirname(link));
  }
  if (!made) return;
  const doomed = join(versionsDir, `.belay-${from}.removing`);
  // Half removed by a life that was cut off: in the way of another of this name.
  await rm(doomed, { recursive: true, force: true });
  if (await present(dir)) {
    await rename(dir, doomed);
    await syncDir(versionsDir);
    await rm(doomed, { recursive: true, force: true });
  }
  // Else a power cut might bring it back, and this is not looked at again.
  await syncDir(versionsDir);
}

function foreignEntry(name: string, what: string): BelayError {
  return new BelayError("drift", `${name} ${what}: Belay did not make it and does not touch it`, {
    hint: "make it a plain file or a link into the versions' folder, or take it out of this host's entry",
    context: { name },
  });
}
