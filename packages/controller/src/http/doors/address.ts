import { isIPv6 } from "node:net";

/**
 * Where somebody comes from, as limits count it. An IPv6 peer may use any address of its /64, so that all of it counts as
 * one; an IPv4 peer on a socket for both looks like `::ffff:192.0.2.1`.
 */
export function originOf(remoteAddress: string | undefined): string {
  const address = (remoteAddress ?? "unknown").replace(/^::ffff:(?=\d+\.)/, "");
  if (!isIPv6(address) || address === "::1") return address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...Array.from({ length: zeros }, () => "0"), ...last];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
