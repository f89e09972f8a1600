import { BelayError } from "@belay/shared";
import { belayAgent } from "./belay-agent.js";
import type { Profile } from "./profile.js";
import { teleport } from "./teleport.js";

const PROFILES: readonly Profile[] = [teleport, belayAgent];

/** The profile of a product as fleet.yaml or a plan names it. Throws `product-unknown`. */
export function profileOf(product: string): Profile {
  const profile = PROFILES.find((one) => one.product === product);
  if (profile !== undefined) return profile;
  throw new BelayError("product-unknown", `there is no product "${product}"`, {
    hint: `Known products: ${PROFILES.map((one) => one.product).join(", ")}.`,
  });
}
