"""Files, predictors and networks of the case of a weather station's temperature."""
