import type { Check, FactProbe, Op, Step } from "@belay/shared";

/**
 * Does this step leave the host as it is? Such steps need nobody's approval: who may not look can't be told what is there. A
 * check says what would be done. What reads a copy back brings it here first, and a check may name a command of this host's
 * own, which may do anything: those need one.
 */
export function isReading({ op, check }: Pick<Step, "op" | "check">): boolean {
  return (check || looks(op)) && !checksOf(op).some(isCommand);
}

function looks(op: Op): boolean {
  switch (op.kind) {
    case "facts":
    case "noop":
    case "preflight":
    case "health":
      return true;
    case "verify-backup":
      return op.copy === undefined;
    default:
      return false;
  }
}

/** The probe without what would run commands of this host for anybody who asks. */
export function withoutCommands(probe: FactProbe): FactProbe {
  return { ...probe, checks: probe.checks.filter((check) => !isCommand(check)) };
}

function checksOf(op: Op): readonly Check[] {
  if ("probe" in op) return op.probe.checks;
  return "checks" in op ? op.checks : [];
}

function isCommand({ kind }: Check): boolean {
  return kind === "command";
}
