"""What computes with weights. It knows neither the store nor the program around it, and travels to GPU hosts alone."""
