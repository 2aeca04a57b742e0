/**
 * From Node 24 on, JSON.parse may take a key that is written with a backslash for another one (nodejs/node#63785), so properties about
 * arbitrary JSON leave such keys out.
 */
export const hasEscapedKeys = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return false
  if (Array.isArray(value)) return value.some(hasEscapedKeys)
  return Object.entries(value).some(([key, item]) => JSON.stringify(key) !== `"${key}"` || hasEscapedKeys(item))
}
