import type { Clock } from "../clock.js";
import { switchLink } from "../durable.js";
import type { Logger } from "../log.js";
import { versionDir } from "../versions/manifest.js";
import type { UpgradeFiles } from "./upgrade-files.js";

/** What everybody needs who looks after an upgrade of the agent from outside. */
export interface Watch {
  files: UpgradeFiles;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}

export interface Watching extends Watch {
  /** Ends the agent, whatever state it is in, and has what the link leads to started in its place. Idempotent. */
  restartAgent: () => Promise<void>;
}

const POLL_MS = 200;

/**
 * The net under an agent's upgrade: waits until the new version has proved itself, and when its time is over takes it back
 * and lets the old one run again. It runs as the old version, in a process of its own, so that nothing the new one does can
 * take it along; started again (after a crash, a reboot) it goes on, with the whole time once more. Idempotent.
 */
export async function watchUpgrade({ files, clock, log, restartAgent, signal }: Watching): Promise<void> {
  if ((await files.returning()) === null && !(await mustGoBack(files, clock, signal))) return;
  const upgrade = await files.returning();
  // The old version was quicker: it runs already, and has said so.
  if (upgrade === null) return;
  log.warn({ ...upgrade }, "the agent's new version did not hold: going back");
  await switchLink(upgrade.link, versionDir(upgrade.versionsDir, upgrade.from));
  await restartAgent();
  await files.noteReturn();
}

async function mustGoBack(files: UpgradeFiles, clock: Clock, signal: AbortSignal): Promise<boolean> {
  let until: number | null = null;
  for (;;) {
    const upgrade = await files.pending();
    if (upgrade === null) return false;
    // Announced, or announced anew by another life of the agent: its whole time begins now. Said once, because a watcher that
    // is started again must do its work on a full disk, too.
    const isKnown = await files.isWatched(upgrade.step);
    if (!isKnown) await files.watch(upgrade.step);
    if (until === null || !isKnown) until = clock.ticks() + upgrade.returnMs;
    if (clock.ticks() >= until) return files.takeBack();
    await clock.sleep(POLL_MS, signal);
  }
}
