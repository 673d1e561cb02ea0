/** An IPv4 network as its first and last address, as numbers. */
export interface Range {
  readonly first: number;
  readonly last: number;
}

/** The range of a network in CIDR notation; undefined when it is none, or its address has bits beyond its length. */
export function cidrRange(cidr: string): Range | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(cidr);
  if (!match) return undefined;
  const [a, b, c, d, length] = match.slice(1).map(Number) as [number, number, number, number, number];
  if ([a, b, c, d].some((byte) => byte > 255) || length > 32) return undefined;
  const first = ((a * 256 + b) * 256 + c) * 256 + d;
  const size = 2 ** (32 - length);
  return first % size === 0 ? { first, last: first + size - 1 } : undefined;
}

export function overlap(one: Range, other: Range): boolean {
  return one.first <= other.last && other.first <= one.last;
}

export function contains(outer: Range, inner: Range): boolean {
  return outer.first <= inner.first && inner.last <= outer.last;
}

/** The address at a distance from the start of a network. */
export function addressInside(cidr: string, distance: number): string {
  const range = cidrRange(cidr);
  if (!range || range.first + distance > range.last)
    throw new Error(`${cidr} is no network with an address ${distance}`);
  const address = range.first + distance;
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}
