// Mean and sum of squared distances from it, of parts of a sample and of their union (Chan, Golub and LeVeque, 1983).

struct A {
    count: f32,
    mean: f32,
    squares: f32,
}

fn combine(a: A, b: A) -> A {
    let count = a.count + b.count;
    let away = b.mean - a.mean;
    let share = b.count / max(count, 1.0);
    return A(count, a.mean + away * share, a.squares + b.squares + away * away * a.count * share);
}
