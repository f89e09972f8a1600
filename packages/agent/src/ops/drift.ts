import { BelayError, type Sha256 } from "@belay/shared";
import type { Service } from "../service/service.js";

/** The world differs from what the plan assumed: nothing is done; it is put back as it was, or a new plan is needed. */
export function drift(expected: string, found: string | null): BelayError {
  return new BelayError("drift", `the plan assumed ${expected}, and found ${found ?? "nothing"}`, {
    hint: "something else changed this host: look at it, then plan anew",
    context: { expected, found },
  });
}

/** Throws `drift` where a service isn't defined as the plan assumed, if it assumed anything. Looks, changes nothing. */
export async function needDefined(expected: Sha256 | undefined, service: Service): Promise<void> {
  if (expected === undefined) return;
  const found = await service.definition();
  if (found?.sha256 === expected) return;
  const how = found === null ? "is defined by no file any more" : `was redefined since: look at ${found.newest}`;
  throw new BelayError("drift", `the plan knew another ${service.name}: it ${how}`, {
    hint: "put it back as it was, or plan anew with what it is now",
    context: { service: service.name, expected, found: found?.sha256 ?? null, file: found?.newest ?? null },
  });
}
