// Epilogue of one output: y = scale * accumulator (+ residual), activation, output code.
// Every step is one binary32 operation, as the compiled kernels compute it. Combinational.
module requantize #(
    parameter integer ACTIVATION = 0,          // 0 none, 1 max(y, 0), 2 min(max(y, CLIP_MIN), CLIP_MAX)
    parameter logic [31:0] CLIP_MIN = 0,       // binary32 bit pattern
    parameter logic [31:0] CLIP_MAX = 0,
    parameter integer RESIDUAL = 0,            // 0 none, 1 binary32, 2 codes
    parameter logic [31:0] RESIDUAL_SCALE = 0,
    parameter integer RESIDUAL_ZERO_POINT = 0,
    parameter integer RESIDUAL_SIGNED = 0,
    parameter integer OUTPUT_CODES = 1,        // 0: `result` is y in binary32
    parameter logic [31:0] OUTPUT_SCALE = 32'h3f800000,
    parameter integer OUTPUT_ZERO_POINT = 0,
    parameter integer OUTPUT_SIGNED = 0
) (
    input  logic signed [31:0] accumulator,
    input  logic        [31:0] scale,
    input  logic        [31:0] residual,       // binary32, or a code in the low 8 bits
    output logic        [31:0] result          // binary32, or a code in the low 8 bits
);
  localparam integer LOW = OUTPUT_SIGNED != 0 ? -128 : 0;
  localparam integer HIGH = OUTPUT_SIGNED != 0 ? 127 : 255;

  logic [31:0] y;
  logic signed [31:0] code;

  always @* begin
    y = float32::multiply(float32::from_int(accumulator), scale);
    code = RESIDUAL_SIGNED != 0 ? {{24{residual[7]}}, residual[7:0]} : {24'd0, residual[7:0]};
    if (RESIDUAL == 1) y = float32::add(y, residual);
    if (RESIDUAL == 2)
      y = float32::add(y, float32::multiply(RESIDUAL_SCALE,
                                            float32::from_int(code - RESIDUAL_ZERO_POINT)));
    if (ACTIVATION == 1 && y[31]) y = 32'd0;
    if (ACTIVATION == 2) begin
      if (float32::less(y, CLIP_MIN)) y = CLIP_MIN;
      if (float32::less(CLIP_MAX, y)) y = CLIP_MAX;
    end
    code = float32::round_to_int(float32::divide(y, OUTPUT_SCALE)) + OUTPUT_ZERO_POINT;
    if (code < LOW) code = LOW;
    if (code > HIGH) code = HIGH;
    result = OUTPUT_CODES != 0 ? {24'd0, code[7:0]} : y;
  end
endmodule
