//! What reads a tensor. Every row reads by `to_vec`; here are the errors, and what a right call gives.

use kiln_tensor::{DType, Random, Tensor};

use super::binary::zeros;
use crate::row::{Wrong, wrong};
use crate::run::devices;

use DType::F32;

/// By name: the wrong calls of each.
pub fn wrongs() -> Vec<(&'static str, Vec<Wrong>)> {
    vec![
        (
            "dims",
            vec![
                wrong("dims: a tensor of shape [2, 3] has rank 2; 3 was expected", |d| {
                    let x = zeros(d, &[2, 3], F32)?;
                    x.dims::<3>().map(|_| x)
                }),
                wrong("dims: a tensor of shape [] has rank 0; 1 was expected", |d| {
                    let x = zeros(d, &[], F32)?;
                    x.dims::<1>().map(|_| x)
                }),
            ],
        ),
        (
            "dim",
            vec![
                wrong("dim: axis 2 of a tensor of shape [2, 3]; needs an axis below 2", |d| {
                    let x = zeros(d, &[2, 3], F32)?;
                    x.dim(2).map(|_| x)
                }),
                wrong("dim: axis 0 of a scalar; it has no axes: add one by unsqueeze", |d| {
                    let x = zeros(d, &[], F32)?;
                    x.dim(0).map(|_| x)
                }),
            ],
        ),
        (
            "item",
            vec![
                wrong("item: a tensor of shape [2, 3] has 6 elements; needs exactly 1: reduce it or use to_vec", |d| {
                    let x = zeros(d, &[2, 3], F32)?;
                    x.item::<f32>().map(|_| x)
                }),
                wrong("item: a tensor of shape [0] has 0 elements; needs exactly 1: reduce it or use to_vec", |d| {
                    let x = zeros(d, &[0], F32)?;
                    x.item::<f32>().map(|_| x)
                }),
                wrong("item: a tensor of f32 read as u8; read it as f32 or convert it by to_dtype", |d| {
                    let x = zeros(d, &[1], F32)?;
                    x.item::<u8>().map(|_| x)
                }),
            ],
        ),
        (
            "to_vec",
            vec![
                wrong("to_vec: a tensor of f32 read as i32; read it as f32 or convert it by to_dtype", |d| {
                    let x = zeros(d, &[2], F32)?;
                    x.to_vec::<i32>().map(|_| x)
                }),
                wrong("to_vec: a tensor of u8 read as f32; read it as u8 or convert it by to_dtype", |d| {
                    let x = zeros(d, &[2], DType::U8)?;
                    x.to_vec::<f32>().map(|_| x)
                }),
            ],
        ),
        (
            "to_vec_async",
            vec![
                wrong("to_vec_async: a tensor of f32 read as i32; read it as f32 or convert it by to_dtype", |d| {
                    let x = zeros(d, &[2], F32)?;
                    pollster::block_on(x.to_vec_async::<i32>()).map(|_| x)
                }),
                wrong("to_vec_async: a tensor of u32 read as f32; read it as u32 or convert it by to_dtype", |d| {
                    let x = zeros(d, &[2], DType::U32)?;
                    pollster::block_on(x.to_vec_async::<f32>()).map(|_| x)
                }),
            ],
        ),
    ]
}

#[test]
fn reading() {
    let mut misses = Vec::new();
    for (name, wrongs) in wrongs() {
        crate::run::check_calls(name, &wrongs, &mut misses);
    }
    assert!(misses.is_empty(), "{}", misses.join("\n"));
    let random = Random { seed: 1, stream: 0 };
    let x =
        Tensor::uniform(&devices().whole, [5, 7], 0.0, 1.0, random).unwrap().slice(0, 1, 4, 2).unwrap().t().unwrap();
    assert_eq!((x.dims::<2>().unwrap(), x.dim(0).unwrap(), x.dim(1).unwrap()), ([7, 2], 7, 2));
    let values = x.to_vec::<f32>().unwrap();
    assert_eq!(pollster::block_on(x.to_vec_async::<f32>()).unwrap(), values);
    assert_eq!(x.slice(0, 3, 4, 1).unwrap().slice(1, 1, 2, 1).unwrap().item::<f32>().unwrap(), values[7]);
}
