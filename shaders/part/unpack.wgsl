// Eight rows to their places in an array, from which a loop can store them: that many copies of an epilogue would take a
// driver's compiler half a minute.
fn unpack(rows: ptr<function, array<V, 8 * BLOCKS>>, first: u32, sum: Rows) {
    (*rows)[first] = sum.r0;
    (*rows)[first + 1u] = sum.r1;
    (*rows)[first + 2u] = sum.r2;
    (*rows)[first + 3u] = sum.r3;
    (*rows)[first + 4u] = sum.r4;
    (*rows)[first + 5u] = sum.r5;
    (*rows)[first + 6u] = sum.r6;
    (*rows)[first + 7u] = sum.r7;
}
