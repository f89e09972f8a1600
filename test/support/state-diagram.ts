import { type Phase, TRANSITIONS } from "@belay/controller/run/phase";

/**
 * The states of a run as a Mermaid diagram, made from the table that the run obeys. Events that change no phase are left
 * out of the picture (the table beneath lists them), or the arrows that matter would drown.
 */
export function stateDiagram(): string {
  const arrows: string[] = ["    [*] --> between: run-started"];
  for (const [from, events] of Object.entries(TRANSITIONS)) {
    const labels = new Map<string, string[]>();
    for (const [type, next] of Object.entries(events)) {
      for (const to of next) {
        if (to !== from) labels.set(to, [...(labels.get(to) ?? []), type]);
      }
    }
    for (const [to, types] of labels) arrows.push(`    ${from} --> ${to}: ${types.join(", ")}`);
  }
  arrows.push("    ended --> [*]");
  return ["stateDiagram-v2", ...arrows].join("\n");
}

/** A row an event, a column a phase: where it may come, and where it may lead. */
export function stateTable(): string {
  const phases = Object.keys(TRANSITIONS) as Phase[];
  const types = [...new Set(Object.values(TRANSITIONS).flatMap((events) => Object.keys(events)))].sort();
  const rows = types.map((type) => {
    const cells = phases.map((phase) => {
      const next = TRANSITIONS[phase][type as keyof (typeof TRANSITIONS)[Phase]] ?? [];
      return next.map((to) => (to === phase ? "stays" : to)).join(", ");
    });
    return `| ${type} | ${cells.join(" | ")} |`;
  });
  return [`| event | ${phases.join(" | ")} |`, `| --- ${"| --- ".repeat(phases.length)}|`, ...rows].join("\n");
}
