"""Everything that computes with weights. It knows neither the store nor the app, and is sent to GPU hosts by itself."""
