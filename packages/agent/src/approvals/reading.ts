import type { Check, FactProbe, Op, Step, VersionProbe } from "@belay/shared";
import { isLoopback } from "../http.js";

/**
 * Does this step leave the host, and everything beyond it, as it is? Such steps need nobody's approval: who may not look can't
 * be told what is there. A check says what would be done. What reads a copy back brings it here first, a check may name a
 * command of this host's own, which may do anything, and one that asks another machine would ask it in this host's name: those
 * need one.
 */
export function isReading({ op, check }: Pick<Step, "op" | "check">): boolean {
  return (check || looks(op)) && checksOf(op).every(isLooking) && versionProbesOf(op).every(asksThisHost);
}

function looks(op: Op): boolean {
  switch (op.kind) {
    case "facts":
    case "noop":
    case "preflight":
    case "health":
      return true;
    case "verify-backup":
      return op.copy === undefined && op.orCopy === undefined;
    default:
      return false;
  }
}

/** The probe without what would run commands of this host, or ask other machines, for anybody who wants it. */
export function looksOnly(probe: FactProbe): FactProbe {
  return { ...probe, checks: probe.checks.filter(isLooking), version: probe.version.filter(asksThisHost) };
}

function checksOf(op: Op): readonly Check[] {
  if ("probe" in op) return op.probe.checks;
  return "checks" in op ? op.checks : [];
}

function versionProbesOf(op: Op): readonly VersionProbe[] {
  if ("probe" in op) return op.probe.version;
  return op.kind === "swap" ? op.version : [];
}

function isLooking(check: Check): boolean {
  switch (check.kind) {
    case "process":
      return true;
    case "tcp":
      return check.host === "::1" || isLoopback(check.host);
    case "http":
    case "metric":
      return isOfThisHost(check.url);
    case "command":
      return false;
  }
}

function asksThisHost(probe: VersionProbe): boolean {
  return !("url" in probe) || isOfThisHost(probe.url);
}

function isOfThisHost(url: string): boolean {
  return URL.canParse(url) && isLoopback(new URL(url).hostname);
}
