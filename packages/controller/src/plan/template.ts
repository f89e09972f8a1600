import { BelayError } from "@belay/shared";
import { parseDuration } from "../inventory/duration.js";

/** What a template may name: declared variables (strings, which may name others in turn) under computed values. */
export interface Scope {
  readonly vars: Readonly<Record<string, string>>;
  /** Win over variables. `null` and objects are values too; a member that comes out undefined is left out. */
  readonly values: Readonly<Record<string, unknown>>;
  /** For `only`. */
  readonly roles: readonly string[];
}

const PLACEHOLDER = /\{([A-Za-z][A-Za-z0-9]*)\}/g;
const WHOLE = /^\{([A-Za-z][A-Za-z0-9]*)\}$/;

/**
 * Fills a template in. `{name}` inside a string becomes text; a string that is nothing but `{name}` takes the value's own
 * type. `{nameMs}` is the milliseconds of the variable `name` where that is a duration. An item of a list, or
 * an object in a field, may say when it is wanted: `only: ROLE` (the host has that role), `given: VAR` and `absent: VAR` (the variable is set, or not);
 * `absent` may be a list, of which none may be set.
 * Throws `program-invalid`.
 */
export function fill(template: unknown, scope: Scope): unknown {
  if (typeof template === "string") return fillText(template, scope, []);
  if (Array.isArray(template)) return template.filter((item) => isWanted(item, scope)).map((item) => fill(item, scope));
  if (typeof template !== "object" || template === null) return template;
  return Object.fromEntries(
    Object.entries(template)
      .filter(([key, value]) => !CONDITIONS.has(key) && isWanted(value, scope))
      .map(([key, value]) => [key, fill(value, scope)])
      .filter(([, value]) => value !== undefined),
  );
}

const CONDITIONS: ReadonlySet<string> = new Set(["only", "given", "absent"]);

function isWanted(item: unknown, { roles, vars }: Scope): boolean {
  if (typeof item !== "object" || item === null) return true;
  const { only, given, absent } = item as Record<string, unknown>;
  if (typeof only === "string" && !roles.includes(only)) return false;
  if (typeof given === "string" && !vars[given]) return false;
  return ![absent].flat().some((name) => typeof name === "string" && vars[name]);
}

function fillText(text: string, scope: Scope, naming: readonly string[]): unknown {
  const whole = WHOLE.exec(text)?.[1];
  if (whole !== undefined) return resolveName(whole, scope, naming);
  return text.replace(PLACEHOLDER, (_, name: string) => String(resolveName(name, scope, naming)));
}

function resolveName(name: string, scope: Scope, naming: readonly string[]): unknown {
  if (Object.hasOwn(scope.values, name)) return scope.values[name];
  if (naming.includes(name))
    throw invalid(`the variables ${[...naming, name].join(" -> ")} name each other in a circle`);
  if (Object.hasOwn(scope.vars, name)) return fillText(scope.vars[name] ?? "", scope, [...naming, name]);
  const stem = name.endsWith("Ms") ? name.slice(0, -2) : "";
  if (Object.hasOwn(scope.vars, stem)) {
    const text = String(resolveName(stem, scope, naming));
    const ms = parseDuration(text);
    if (ms === null) throw invalid(`the variable "${stem}" must be a duration such as 30s, not "${text}"`);
    return ms;
  }
  throw invalid(`there is no variable "${name}"`);
}

function invalid(message: string): BelayError {
  return new BelayError("program-invalid", message, {
    hint: "Correct `vars` in fleet.yaml; docs/fleet.md lists the variables of each product.",
  });
}
