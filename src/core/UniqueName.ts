/** Keys and refs are never used twice: what a crash left under the old name must not be mistaken for ours. */
export const uniqueName = (prefix: string): string => `${prefix}-${crypto.randomUUID()}`
