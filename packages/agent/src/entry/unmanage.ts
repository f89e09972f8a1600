import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BelayError } from "@belay/shared";
import { present, syncDir } from "../durable.js";
import type { Exec } from "../exec.js";
import { installedVersion } from "../versions/installed.js";
import { verifyVersion, versionDir } from "../versions/manifest.js";
import { lookAt, programIn } from "./look.js";
import { clearOriginals } from "./original.js";
import { forgetAdoption, recalledAdoption } from "./record.js";
import { putFile } from "./same-file.js";

/**
 * Takes Belay out of a host: every name of the entry becomes a plain file of the version that is installed now, and the link
 * goes. The service is not touched; version folders stay. Idempotent. Throws `not-adopted`, `version-missing` and what
 * `verifyVersion` throws. Gives what it did, in words.
 */
export async function unmanage(
  service: string,
  world: { stateDir: string; exec: Exec; signal: AbortSignal },
): Promise<string> {
  const adoption = await recalledAdoption(world.stateDir, service);
  if (adoption === null) {
    throw new BelayError("not-adopted", `nothing on this host was adopted for service ${service}`, {
      hint: "names that lead through no link of Belay's are plain files already, or never were",
    });
  }
  const { entry, link, versionsDir } = adoption;
  const version = await installedVersion(link, versionsDir);
  const standings = await lookAt({ entry, link, versionsDir });
  const led = standings.filter(({ kind }) => kind === "led").map(({ program }) => program);
  if (version === null && led.length > 0) {
    throw new BelayError("version-missing", `${link} leads to no version`, { hint: "point it at a version's folder" });
  }
  if (version !== null) {
    const dir = versionDir(versionsDir, version);
    await verifyVersion(dir, null, world.signal);
    for (const program of led)
      await putFile(programIn(dir, entry, program), join(entry.dir, program), world, world.signal);
  }
  await clearOriginals(entry);
  if (await present(link)) {
    await rm(link);
    await syncDir(dirname(link));
  }
  await forgetAdoption(world.stateDir, service);
  return `${led.map((program) => join(entry.dir, program)).join(", ") || "nothing"}: plain files of ${version ?? "no version"}`;
}
