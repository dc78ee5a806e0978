//! Prints the resources as YAML, each field in a fixed order; `make generate` writes it into the chart.

fn main() -> Result<(), serde_saphyr::ser_error::Error> {
    print!("{}", serde_saphyr::to_string(&natter_crds::crd())?);
    Ok(())
}
