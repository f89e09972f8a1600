import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.js";
import type { Edition } from "./source.js";
import { Tree } from "./tree.js";

/** The agent as a release that `belay release add` takes and `belay agent upgrade` brings to hosts. Returns its path. */
export async function packRelease(executable: string, edition: Edition, out: string): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "belay-release-"));
  try {
    const tree = new Tree(join(work, "belay-agent"));
    await tree.copy("belay-agent", executable, 0o755);
    await tree.file("VERSION", `${edition.version}\n`);
    await tree.date(edition.epochSeconds);
    await mkdir(out, { recursive: true });
    const file = join(out, `belay-agent-v${edition.version}-linux-amd64.tar.gz`);
    const plain = ["--format=ustar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"];
    run("tar", [...plain, "--use-compress-program=gzip -n", "-C", work, "-cf", file, "belay-agent"]);
    return file;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
