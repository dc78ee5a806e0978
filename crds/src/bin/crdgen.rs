//! Prints the resources as YAML; `make generate` writes it into the chart.

fn main() -> Result<(), serde_saphyr::ser_error::Error> {
    print!("{}", natter_crds::yaml()?);
    Ok(())
}
