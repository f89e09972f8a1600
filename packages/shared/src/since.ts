import type { TSchema } from "typebox";

/**
 * What a schema's member, or a member of a union, may say of its place in the protocol's history:
 * - `since: 2`: it came with protocol 2. A peer at an older version never sees it, and may not send it.
 * - `spare: true`: an older peer does right without it, so it is left out for one.
 * - `default`: what its absence means. It is left out for an older peer where it says just that.
 */
interface Since {
  readonly since?: number;
  readonly spare?: boolean;
  readonly default?: unknown;
}

/** The part of JSON Schema that messages are made of. */
interface Node extends Since {
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
}

/** The same schema with its place in history, for one that is used in several places. */
export function marked<S extends TSchema>(schema: S, since: Since): S {
  return Object.defineProperties({ ...since }, Object.getOwnPropertyDescriptors(schema)) as unknown as S;
}

/** The schema as an older version of the protocol had it: what came later is not in it. */
export function schemaAt<S extends TSchema>(schema: S, protocol: number): S {
  return reduced(schema as Node, protocol) as S;
}

function reduced(node: Node, protocol: number): Node {
  const { properties, items, anyOf } = node;
  return {
    ...node,
    ...(properties === undefined ? {} : { properties: reducedMembers(properties, protocol) }),
    ...(items === undefined ? {} : { items: reduced(items, protocol) }),
    ...(anyOf === undefined
      ? {}
      : { anyOf: anyOf.filter((one) => !isLater(one, protocol)).map((one) => reduced(one, protocol)) }),
  };
}

function reducedMembers(properties: Readonly<Record<string, Node>>, protocol: number): Record<string, Node> {
  const kept = Object.entries(properties).filter(([, member]) => !isLater(member, protocol));
  return Object.fromEntries(kept.map(([name, member]) => [name, reduced(member, protocol)]));
}

/** A value without the later members that an older peer does right without. What it does need stays, and gives it away. */
export function valueAt(schema: TSchema, value: unknown, protocol: number): unknown {
  return lightened(schema as Node, value, protocol);
}

function lightened(node: Node, value: unknown, protocol: number): unknown {
  if (node.anyOf !== undefined) {
    return node.anyOf.filter((one) => isMeant(one, value)).reduce((left, one) => lightened(one, left, protocol), value);
  }
  if (Array.isArray(value)) {
    const { items } = node;
    return items === undefined ? value : value.map((item) => lightened(items, item, protocol));
  }
  if (node.properties === undefined || typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).flatMap(([name, member]) => {
    const known = node.properties?.[name];
    if (known === undefined) return [[name, member]];
    return isLater(known, protocol) && isSpare(known, member) ? [] : [[name, lightened(known, member, protocol)]];
  });
  return Object.fromEntries(members);
}

/** A member of a union is meant when its literal fields say what the value's do. */
function isMeant({ properties }: Node, value: unknown): boolean {
  if (properties === undefined || typeof value !== "object" || value === null) return false;
  return Object.entries(properties).every(
    ([name, member]) => member.const === undefined || member.const === (value as Record<string, unknown>)[name],
  );
}

function isLater({ since = 1 }: Node, protocol: number): boolean {
  return since > protocol;
}

function isSpare(member: Node, value: unknown): boolean {
  if (member.spare === true) return true;
  return "default" in member && JSON.stringify(member.default) === JSON.stringify(value);
}
