// Eight rows of a result in a lane's registers, V a row. Named, not an array: arrays of accumulators go through memory.

struct Rows {
    r0: V,
    r1: V,
    r2: V,
    r3: V,
    r4: V,
    r5: V,
    r6: V,
    r7: V,
}
