import { BelayError } from "@belay/shared";
import type { SelfConfig } from "../config.js";
import type { Exec } from "../exec.js";

const SYSTEMCTL_TIMEOUT_MS = 10_000;

/** How systemd is told to put the old agent in place of one that may crash, hang or ignore its end. */
export function systemdRestart(config: SelfConfig & { manager: "systemd" }, exec: Exec): () => Promise<void> {
  const systemctl = (...args: string[]) =>
    exec.run(["systemctl", "--no-ask-password", ...args], { timeoutMs: SYSTEMCTL_TIMEOUT_MS });
  return async () => {
    // Both fail where there is nothing to kill or to forget, and the restart tells whether it matters.
    await systemctl("kill", "--signal=SIGKILL", config.unit);
    await systemctl("reset-failed", config.unit);
    // Not waited for: a unit that never says it is ready would keep this process, and its own time limit judges it.
    const restarted = await systemctl("restart", "--no-block", config.unit);
    if (restarted.code === 0) return;
    throw new BelayError("systemctl-failed", `systemctl restart ${config.unit}: ${restarted.stderr.trim()}`, {
      hint: `look at \`journalctl -u ${config.unit}\``,
      context: { unit: config.unit },
    });
  };
}
