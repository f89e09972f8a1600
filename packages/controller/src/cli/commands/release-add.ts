import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { BelayError } from "@belay/shared";
import type { ReleaseView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { Progress } from "../progress.js";
import type { Session } from "../session.js";

export const releaseAdd: CommandSpec<{ readonly sha256?: string }> = {
  name: "add <file...>",
  summary: "check a release tarball against its digest and store it in belayd, for agents to fetch",
  options: [{ flags: "--sha256 <hex>", about: "its digest, in place of FILE.sha256 beside it (one file only)" }],
  examples: ["belay release add teleport-v6.2.31-linux-amd64-bin.tar.gz", "belay release add releases/*.tar.gz"],
  async run(session, { sha256 }, files) {
    if (sha256 !== undefined && files.length > 1) {
      throw new BelayError("usage", "--sha256 goes with one file", { hint: "Put FILE.sha256 beside each of them." });
    }
    const { api } = await session.connect();
    for (const file of files) {
      const expected = sha256 === undefined ? await readDigest(file) : checkDigest(sha256, "--sha256");
      await compare(session, file, expected);
      const progress = new Progress(session, `sending ${basename(file)}`, await sizeOf(file));
      const bytes = Readable.toWeb(progress.through(createReadStream(file))) as ReadableStream<Uint8Array>;
      try {
        session.answer(await api.addRelease(basename(file), expected, bytes), addedLines);
      } finally {
        progress.end();
      }
    }
    return EXIT.ok;
  },
};

function addedLines({ version, artifacts }: ReleaseView): string[] {
  const stored = artifacts.filter((artifact) => artifact.stored);
  const platforms = stored.map(({ os, arch, edition, fips }) => `${os}/${arch} ${edition}${fips ? " fips" : ""}`);
  return [`release ${version} stored: ${platforms.join(", ")}`];
}

/** `FILE.sha256`, as releases come: 64 hex digits, spaces, the file's name. */
async function readDigest(file: string): Promise<string> {
  const beside = `${file}.sha256`;
  const text = await readFile(beside, "utf8").catch((cause: unknown) => {
    throw new BelayError("digest-missing", `no digest for ${file}: ${(cause as Error).message}`, {
      hint: `Download ${basename(beside)} too and put it beside the tarball, or give --sha256 HEX.`,
      cause,
    });
  });
  const [digest = "", name = basename(file)] = text.trim().split(/\s+/);
  if (basename(name.replace(/^\*/, "")) !== basename(file)) {
    throw new BelayError("digest-malformed", `${beside} is the digest of ${name}, not of ${basename(file)}`, {
      hint: "Was the tarball renamed? Its name says which release it is.",
    });
  }
  return checkDigest(digest, beside);
}

function checkDigest(text: string, from: string): string {
  const digest = text.toLowerCase();
  if (/^[0-9a-f]{64}$/.test(digest)) return digest;
  throw new BelayError("digest-malformed", `${from} does not hold a SHA-256`, { hint: "It has 64 hex digits." });
}

/** Wrong bytes are better found here than after 200 MB were sent. belayd checks them again. */
async function compare(session: Session, file: string, expected: string): Promise<void> {
  const progress = new Progress(session, `checking ${basename(file)}`, await sizeOf(file));
  const hash = createHash("sha256");
  try {
    for await (const chunk of progress.through(createReadStream(file))) hash.update(chunk);
  } finally {
    progress.end();
  }
  const found = hash.digest("hex");
  if (found !== expected) {
    throw new BelayError("artifact-differs", `${file} is not what its digest says`, {
      hint: "Download it again; nothing was stored.",
      context: { expected, found },
    });
  }
}

async function sizeOf(file: string): Promise<number> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new BelayError("file-unreadable", `cannot read ${file}: ${(cause as Error).message}`, { cause });
  });
  if (!found.isFile()) throw new BelayError("file-unreadable", `${file} is not a file`);
  return found.size;
}
