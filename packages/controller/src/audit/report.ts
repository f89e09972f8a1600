import type { Verdict } from "./finding.js";

const MAX_SHOWN = 20;

/** A verdict as people read it: what is wrong first, or what was proven and by whom. */
export function reportOf({ origin, size, root, pending, witnessed, keyGiven, findings }: Verdict): string[] {
  const lines = [
    `log         ${origin ?? "unknown"}`,
    `entries     ${size}${pending === 0 ? "" : `, and ${pending} that no checkpoint covers yet`}`,
    ...(root === null ? [] : [`root        ${root}`]),
    `key         ${keyGiven ? "the one given" : "the one beside the log: --key K proves more"}`,
    `witnesses   ${witnessed === 0 ? "none heard: --witness FILE proves that nothing was cut off" : `${witnessed} agree`}`,
  ];
  if (findings.length === 0) return [...lines, "result      whole"];
  const shown = findings.slice(0, MAX_SHOWN).map(({ code, message }) => `  ${message} (${code})`);
  const first = findings.find(({ entry }) => entry !== undefined)?.entry;
  const where = first === undefined ? "" : `, from entry ${first} on`;
  return [...lines, `result      NOT WHOLE${where}`, ...shown];
}
