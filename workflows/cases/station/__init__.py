"""Files, predictors, methods and figure of the case of a weather station's temperature."""
