import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { ArchiveJudge, type ArchiveParser, BelayError, blocksOf, parse, parseVersion, unsafe } from "@belay/shared";
import { Parser, type ReadEntry } from "tar";
import type { Artifact } from "./catalogue.js";
import { archOfProgram, PROGRAM_HEAD_BYTES } from "./elf.js";
import type { ReleaseName } from "./name.js";
import { maxUnpackedBytes } from "./unpacked.js";

/** How the releases of a product are named, and where in them its program lies. */
interface Kind {
  readonly product: string;
  readonly fileName: RegExp;
  /** Its one folder; the program is called the same. */
  readonly folder: string;
  readonly program: RegExp;
  readonly versionFile: RegExp;
}

const KINDS: readonly Kind[] = [
  {
    product: "teleport",
    folder: "teleport",
    fileName:
      /^teleport(?<ent>-ent)?-v(?<version>\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+?)?)-(?<os>linux)-(?<arch>amd64|arm64|arm|386)(?<fips>-fips)?-bin\.tar\.gz$/,
    program: /^teleport(?:-ent)?\/teleport$/,
    versionFile: /^teleport(?:-ent)?\/VERSION$/,
  },
  {
    product: "belay-agent",
    folder: "belay-agent",
    fileName:
      /^belay-agent-v(?<version>\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+?)?)-(?<os>linux)-(?<arch>amd64|arm64|arm|386)\.tar\.gz$/,
    program: /^belay-agent\/belay-agent$/,
    versionFile: /^belay-agent\/VERSION$/,
  },
];

/** A VERSION file is one short line; anything longer is something else. */
const MAX_VERSION_BYTES = 64;

/** What a release file's name says it is. Throws `release-name`. */
export function readFileName(file: string): Omit<Artifact, "size" | "sha256"> & ReleaseName {
  const kind = KINDS.find(({ fileName }) => fileName.test(file));
  const groups = kind?.fileName.exec(file)?.groups;
  const version = groups?.version === undefined ? null : parseVersion(groups.version);
  if (kind === undefined || groups === undefined || version === null) {
    throw new BelayError("release-name", `"${file}" is not named like a release`, {
      hint: "Expected teleport[-ent]-v<version>-linux-<arch>[-fips]-bin.tar.gz, or belay-agent-v<version>-linux-<arch>.tar.gz.",
    });
  }
  return {
    product: kind.product,
    version,
    os: groups.os ?? "linux",
    arch: groups.arch ?? "amd64",
    edition: groups.ent === undefined ? "oss" : "ent",
    fips: groups.fips !== undefined,
    file,
  };
}

/** The agents' own name for what they note beside the files: no release may bring it. */
const RESERVED = ".belay-manifest.json";

/**
 * Reads a stored tarball through once, writing nothing. Throws `release-malformed` for what an agent would not unpack (the
 * same judge looks at both ends), unless the product's program is there and made for the machines that its name says, and
 * unless it is the version that its name says. What runs is checked again by agents: the new process reports its version.
 */
export async function inspectTarball(path: string, release: ReleaseName & { readonly arch: string }): Promise<void> {
  const { product, version, arch } = release;
  const kind = KINDS.find((one) => one.product === product);
  if (kind === undefined) throw new TypeError(`no releases of ${product} are known`);
  const found = await readTarball(path, kind).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).syscall !== undefined) throw cause;
    throw malformed((cause as Error).message, "Do not use this file: it is not a release as published.", cause);
  });
  if (found.program === null) {
    throw malformed(`there is no ${kind.folder}/${kind.folder} in it`, `Is this a release of ${product}?`);
  }
  const made = archOfProgram(found.program);
  if (made !== null && made !== arch) {
    throw malformed(`its name says ${arch}, and its program is made for ${made}`, "Was it renamed? Fetch it again.");
  }
  const inside = found.version?.trim().replace(/^v/, "") ?? "";
  if (inside !== "" && inside !== version) {
    throw malformed(
      `its name says ${version}, and its VERSION file ${JSON.stringify(inside)}`,
      "Was it renamed? Add it under the name it was published by.",
    );
  }
}

/** What there is to know of a release from its files: how its program begins, and what its VERSION file says. */
interface Found {
  program: Buffer | null;
  version: string | null;
}

async function readTarball(path: string, kind: Kind): Promise<Found> {
  const found: Found = { program: null, version: null };
  const { size } = await stat(path);
  const judge = new ArchiveJudge({ strip: 1, maxUnpackedBytes: maxUnpackedBytes(size), reserved: RESERVED });
  const stop = new AbortController();
  const trying = (judged: () => void) => {
    try {
      judged();
    } catch (error) {
      stop.abort(error);
    }
  };
  const parser = new Parser({
    strict: true,
    onReadEntry(entry: ReadEntry) {
      trying(() => judge.entry(entry));
      if (kind.program.test(entry.path) && entry.type === "File") {
        found.program = Buffer.alloc(0);
        keepHead(entry, PROGRAM_HEAD_BYTES, (head) => {
          found.program = head;
        });
      } else if (kind.versionFile.test(entry.path)) {
        keepHead(entry, MAX_VERSION_BYTES, (head) => {
          found.version = head.toString("utf8");
        });
      } else entry.resume();
    },
  });
  parser.on("meta", (text: string) => trying(() => judge.extended(text)));
  parser.on("ignoredEntry", (entry: ReadEntry) => stop.abort(unsafe(entry.path, `is a ${entry.type}`)));
  const blocks = blocksOf(createReadStream(path), judge.maxStreamBytes, () => judge.tooLarge());
  await parse(parser as ArchiveParser, blocks, stop.signal);
  judge.end();
  return found;
}

/** The first bytes of an entry, one more than asked for where there are more, so that too many don't look like enough. */
function keepHead(entry: ReadEntry, bytes: number, take: (head: Buffer) => void): void {
  let head: Buffer = Buffer.alloc(0);
  entry.on("data", (chunk: Buffer) => {
    if (head.length <= bytes) head = Buffer.concat([head, chunk]).subarray(0, bytes + 1);
    take(head);
  });
}

function malformed(message: string, hint: string, cause?: unknown): BelayError {
  return new BelayError("release-malformed", message, { hint, ...(cause === undefined ? {} : { cause }) });
}
