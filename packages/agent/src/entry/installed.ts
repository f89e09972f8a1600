import { join } from "node:path";
import { type Entry, errorInfo } from "@belay/shared";
import { present } from "../durable.js";
import type { Host } from "../host.js";
import { installedVersion } from "../versions/installed.js";
import { lookAt } from "./look.js";

/**
 * The version that is installed: what the link leads to and what every name of the entry says, when they agree. A name that
 * is a plain file is asked itself. Null: nothing is there, or they disagree, which is a host that somebody must look at.
 */
export async function installedAt(
  at: { link: string; versionsDir: string; entry?: Entry },
  host: Pick<Host, "allowed" | "banner" | "exec" | "log">,
): Promise<string | null> {
  const { entry, link, versionsDir } = at;
  if (entry === undefined) return installedVersion(link, versionsDir);
  const standings = await lookAt({ entry, link, versionsDir });
  const said = new Set<string | null>();
  if (await present(link)) said.add(await installedVersion(link, versionsDir));
  const file = standings.find(({ kind }) => kind === "file");
  // One of them speaks for all: they come from one release, and starting each would cost seconds.
  if (file !== undefined) said.add(await sayOf(join(entry.dir, file.program), versionsDir, host));
  for (const each of standings) {
    if (each.kind === "link") said.add(each.version);
    else if (each.kind === "foreign") said.add(null);
  }
  const [only = null] = said;
  return said.size === 1 ? only : null;
}

/** Null: it doesn't say, or may not be asked. */
async function sayOf(
  file: string,
  versionsDir: string,
  host: Pick<Host, "allowed" | "banner" | "exec" | "log">,
): Promise<string | null> {
  try {
    return await host.banner.versionOf(await host.allowed.program(file, versionsDir), host);
  } catch (error) {
    host.log.warn({ file, error: errorInfo(error) }, "an installed program is not asked for its version");
    return null;
  }
}
