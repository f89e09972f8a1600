/** JSON that may be changed anywhere. */
export type Json = { [key: string]: unknown };

/** One value somewhere in it, of some depth, is another. */
export function altered(json: unknown, at: number, text: string, number: unknown): unknown {
  const copy = structuredClone(json) as Json;
  const places: [Json, string][] = [];
  const walk = (value: unknown) => {
    if (typeof value !== "object" || value === null) return;
    for (const key of Object.keys(value)) {
      places.push([value as Json, key]);
      walk((value as Json)[key]);
    }
  };
  walk(copy);
  const [place, key = ""] = places[at % Math.max(1, places.length)] ?? [];
  if (place === undefined) return copy;
  const was = place[key];
  if (typeof was === "string") place[key] = at % 3 === 0 ? `${was}${text}` : text;
  else if (typeof was === "number") place[key] = number;
  else if (typeof was === "boolean") place[key] = !was;
  else if (at % 2 === 0) delete place[key];
  else place[key] = number;
  return copy;
}

/** The text with one bit another. */
export function bent(frame: string, at: number, bit: number): string {
  const bytes = Buffer.from(frame);
  const place = at % bytes.length;
  bytes[place] = (bytes[place] ?? 0) ^ (1 << bit);
  return bytes.toString("utf8");
}
