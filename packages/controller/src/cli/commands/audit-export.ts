import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { BelayError } from "@belay/shared";
import { create } from "tar";
import { auditFilesOf } from "../audit-files.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";

export const auditExport: CommandSpec = {
  name: "export <target>",
  summary: "write the whole audit log into a new folder, or a .tar",
  notes:
    "Tiles, checkpoint and key, as c2sp.org/tlog-tiles has them, with no secret in it. belay-audit-verify reads the folder, " +
    "with no belayd and no database.",
  examples: ["belay audit export audit-2026-11", "belay audit export audit.tar"],
  async run(session, _options, [target = ""]) {
    const { api } = await session.connect();
    const isTar = target.endsWith(".tar");
    const dir = isTar ? await mkdtemp(join(tmpdir(), "belay-audit-")) : target;
    if (!isTar) await makeNew(dir);
    try {
      const files = await auditFilesOf(api);
      for (const path of files.paths) {
        const bytes = await files.read(path);
        if (bytes === null)
          throw new BelayError("audit-unreadable", `belayd has no ${path} any more`, { hint: "Once more." });
        await mkdir(dirname(join(dir, path)), { recursive: true });
        await writeFile(join(dir, path), bytes, { flag: "wx" });
      }
      if (isTar) {
        await create({ file: `${target}.new`, cwd: dir, portable: true }, ["."]);
        await rename(`${target}.new`, target);
      }
      session.answer({ target, files: files.paths.length }, () => [`audit log written to ${target}`]);
      return EXIT.ok;
    } catch (error) {
      // Half of a log must not be taken for the whole.
      if (!isTar) await rm(dir, { recursive: true, force: true });
      throw error;
    } finally {
      if (isTar) await rm(dir, { recursive: true, force: true });
    }
  },
};

async function makeNew(dir: string): Promise<void> {
  await mkdir(dir).catch((cause: unknown) => {
    throw new BelayError("file-not-writable", `cannot make ${dir}: ${(cause as Error).message}`, {
      hint: "It must not exist yet, in a folder you may write to.",
      cause,
    });
  });
}
