import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { addContents } from "./contained.js";
import { buildDeb } from "./deb.js";
import { addManual } from "./man/pages.js";
import type { Runtime } from "./runtime.js";
import { type Edition, ROOT } from "./source.js";
import { Tree } from "./tree.js";

const DIR = join(ROOT, "packaging/belay-agent");

/** Lays out and builds Debian's package `belay-agent` around the executable. Returns its path. */
export async function buildAgentDeb(options: {
  edition: Edition;
  executable: string;
  runtime: Runtime;
  /** The npm packages inside the executable. */
  folders: readonly string[];
  staging: string;
  out: string;
}): Promise<string> {
  const tree = new Tree(options.staging);
  await tree.copy("usr/lib/belay-agent/belay-agent", options.executable, 0o755);
  await tree.copy("usr/lib/belay-agent/notified", join(ROOT, "packaging/notified"), 0o755);
  await tree.link("usr/bin/belay-agent", "/opt/belay/agent/current/belay-agent");
  for (const unit of ["belay-agent.service", "belay-agent-rescue.service"]) {
    await tree.copy(`usr/lib/systemd/system/${unit}`, join(DIR, unit));
  }
  await tree.copy("etc/belay/agent.yaml", join(DIR, "agent.yaml"));
  await tree.dir("etc/belay/hooks.d");
  await tree.dir("var/lib/belay-agent", 0o700);
  await addContents(tree, { name: "belay-agent", ...options });
  await addManual(tree, "belay-agent", options.edition);
  await tree.gzip("usr/share/doc/belay-agent/changelog", await readFile(join(ROOT, "packaging/changelog"), "utf8"));
  return buildDeb(tree, { name: "belay-agent", dir: DIR, edition: options.edition }, options.out);
}
