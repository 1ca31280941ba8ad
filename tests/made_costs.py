"""What boards, people and the alternatives cost, made up."""

PI = {"board": 80, "supply": 12, "ssd": 30}
COST = {
    "currency": "EUR",
    "hardware": {"nvme": {**PI, "m2_hat": 13}, "sd": PI},
    "boards": 10,
    "lifespan_years": 4,
    "duty_pct": 20,
    "price_per_kwh": 0.3,
    "grid_co2_g_per_kwh": 380,
    "engineering": {"price_per_day": 600, "setup_days": 3, "maintenance_days_per_year": 2},
    "alternatives": {
        "api": {
            "kind": "api",
            "price_per_million_input_tokens": 0.1,
            "price_per_million_output_tokens": 0.4,
        },
        "gpu": {"kind": "gpu", "price_per_hour": 0.6, "output_tokens_per_s": 900},
    },
}
