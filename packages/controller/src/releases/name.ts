/** Releases of this product are called by their version alone. */
const MAIN_PRODUCT = "teleport";

export interface ReleaseName {
  readonly product: string;
  readonly version: string;
}

/** What people and records call a release: `7.1.0`, or `belay-agent@0.2.0` for one of another product. */
export function nameRelease({ product, version }: ReleaseName): string {
  return product === MAIN_PRODUCT ? version : `${product}@${version}`;
}

/** The version in a release's name; null when it is one of another product. */
export function versionNamed(name: string, product: string): string | null {
  const at = name.indexOf("@");
  const named = at < 0 ? MAIN_PRODUCT : name.slice(0, at);
  return named === product ? name.slice(at + 1) : null;
}
