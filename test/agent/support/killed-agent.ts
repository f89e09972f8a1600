import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  byToken,
  type JournalDisk,
  openJournalDisk,
  parseConfig,
  silentLogger,
  startAgent,
  systemClock,
  systemExec,
  systemHttp,
  webSocketDial,
} from "@belay/agent";

/**
 * A real agent in a process of its own whose disk kills it, by SIGKILL, at one journal record: KILL_AT names the record
 * (`accepted`, `outcome`, or a phase), KILL_WHEN says whether `before` it is written (its effect's predecessor is done,
 * the record is lost) or `after` it is durable (nothing that follows is done). With KILL_ONCE, a file, it does so once.
 */
const file = process.argv[process.argv.indexOf("--config") + 1] ?? "";
const config = parseConfig(readFileSync(file, "utf8"), file);
const at = new RegExp(`"(?:kind|phase)":"${process.env.KILL_AT}"`);
const when = process.env.KILL_WHEN;
const disk = await openJournalDisk(join(config.stateDir, "journal"));
const once = process.env.KILL_ONCE;
let doomed = false;

function die(): void {
  if (once !== undefined && existsSync(once)) return;
  if (once !== undefined) writeFileSync(once, "");
  process.kill(process.pid, "SIGKILL");
}

const killing: JournalDisk = {
  file: disk.file,
  read: () => disk.read(),
  truncate: (bytes) => disk.truncate(bytes),
  replace: (bytes) => disk.replace(bytes),
  close: () => disk.close(),
  async append(bytes) {
    doomed = at.test(bytes.toString());
    if (doomed && when === "before") die();
    await disk.append(bytes);
  },
  async sync() {
    await disk.sync();
    if (doomed) die();
  },
};
const token = readFileSync(config.tokenFile, "utf8").trim();
const agent = await startAgent({
  config,
  leave: () => void agent.stop().then(() => process.exit(75)),
  controller: byToken(config.controller, token),
  clock: systemClock,
  random: () => 0.5,
  dial: webSocketDial(byToken(config.controller, token)),
  http: systemHttp,
  exec: systemExec,
  log: silentLogger,
  machine: { os: process.platform, arch: process.arch },
  journalDisk: killing,
  env: { PATH: process.env.PATH ?? "" },
  redial: { baseMs: 20, capMs: 100, stableMs: 1000, refusedMs: 500 },
});
