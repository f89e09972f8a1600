import { BelayError, type Sha256 } from "@belay/shared";
import type { Definition, Service } from "../service/service.js";

/** The world differs from what the plan assumed: nothing is done; it is put back as it was, or a new plan is needed. */
export function drift(expected: string, found: string | null): BelayError {
  return new BelayError("drift", `the plan assumed ${expected}, and found ${found ?? "nothing"}`, {
    hint: "something else changed this host: look at it, then plan anew",
    context: { expected, found },
  });
}

/** Throws `drift` where a service isn't defined as the plan assumed, if it assumed anything. Looks, changes nothing. */
export async function needDefined(
  op: { readonly definition?: Sha256 },
  service: Service,
  versionsDir: string,
): Promise<void> {
  const { definition: expected } = op;
  if (expected === undefined) return;
  const found = await service.definition(versionsDir);
  if (found?.sha256 === expected) return;
  throw new BelayError("drift", `the plan knew another ${service.name}: it ${found === null ? GONE : nowBy(found)}`, {
    hint: "put it back as it was, or plan anew with what it is now",
    context: { service: service.name, expected, found: found?.sha256 ?? null, files: found?.files ?? [] },
  });
}

const GONE = "is defined by no file any more";

function nowBy({ files, newest }: Definition): string {
  return `was redefined since, and is now defined by ${files.join(", ")}${files.length > 1 ? `, of which ${newest} is the newest` : ""}`;
}
