import type { ServiceState } from "@belay/shared";

/** `systemctl show` prints one `Name=value` a line, and one for each of several commands (ExecReload): those come as lines here. */
export function parseShow(text: string): Map<string, string> {
  const shown = new Map<string, string>();
  for (const line of text.split("\n")) {
    const equals = line.indexOf("=");
    if (equals <= 0) continue;
    const [name, value] = [line.slice(0, equals), line.slice(equals + 1)];
    const before = shown.get(name);
    shown.set(name, before === undefined ? value : `${before}\n${value}`);
  }
  return shown;
}

export function stateOf(shown: Map<string, string>): ServiceState {
  switch (shown.get("ActiveState")) {
    case "active":
    case "reloading":
      return "running";
    case "inactive":
      // What a boot hasn't come to yet waits for its turn, and nobody who starts it is done before.
      return Number(shown.get("Job") ?? 0) > 0 ? "unknown" : "stopped";
    case "failed":
      return "failed";
    case "activating":
      // Between a crash and the next start systemd says activating (auto-restart): it is not running.
      return shown.get("SubState") === "auto-restart" ? "failed" : "unknown";
    default:
      return "unknown";
  }
}

export function restartsOf(shown: Map<string, string>): number {
  const restarts = Number(shown.get("NRestarts") ?? 0);
  return Number.isInteger(restarts) ? restarts : 0;
}

/** False: systemd has no unit file that it could start it by. It may run nevertheless, and be stopped. */
export function isUsable(shown: Map<string, string>): boolean {
  const load = shown.get("LoadState");
  return load === undefined || load === "loaded";
}

/** What a LoadState other than `loaded` means. */
export function wordsOfLoad(load: string): string {
  switch (load) {
    case "not-found":
      return "systemd knows no unit";
    case "masked":
      return "somebody masked the unit";
    default:
      return `systemd can't use the unit file (${load}) of`;
  }
}
