// mul8u_p11: approximate 8 x 8 bit unsigned multiplier, p = a w
// MAE = 1169.07, WCE = 5352
// power 0.04455 mW, area 91.64 um2, delay 0.5305 ns (gate model: 41 gates)
module mul8u_p11 (
  input  wire [7:0] a,
  input  wire [7:0] w,
  output wire [15:0] p
);
  wire n0 = a[7] & w[4];
  wire n1 = a[7] & w[5];
  wire n2 = a[6] & w[5];
  wire n3 = n0 ^ n2;
  wire n4 = n0 & n2;
  wire n5 = n1 ^ n3;
  wire n6 = n1 & n3;
  wire n7 = n4 | n6;
  wire n8 = n1 ^ n7;
  wire n9 = a[5] & w[6];
  wire n10 = n5 | n9;
  wire n11 = n5 & n9;
  wire n12 = a[6] & w[6];
  wire n13 = n8 | n12;
  wire n14 = n11 ^ n13;
  wire n15 = n11 & n13;
  wire n16 = a[7] & w[6];
  wire n17 = n7 ^ n16;
  wire n18 = w[6] & n7;
  wire n19 = n15 ^ n17;
  wire n20 = n15 & n17;
  wire n21 = n18 | n20;
  wire n22 = a[4] & w[7];
  wire n23 = a[5] & w[7];
  wire n24 = n14 ^ n23;
  wire n25 = n14 & n23;
  wire n26 = n22 ^ n24;
  wire n27 = n22 & n24;
  wire n28 = n25 | n27;
  wire n29 = a[6] & w[7];
  wire n30 = n19 ^ n29;
  wire n31 = n19 & n29;
  wire n32 = n28 ^ n30;
  wire n33 = n28 & n30;
  wire n34 = n31 | n33;
  wire n35 = ~(a[7] & w[7]);
  wire n36 = ~(n21 ^ n35);
  wire n37 = w[7] & n21;
  wire n38 = n34 ^ n36;
  wire n39 = n34 & n36;
  wire n40 = n37 | n39;
  assign p[0] = a[6];
  assign p[1] = w[6];
  assign p[2] = a[4];
  assign p[3] = n24;
  assign p[4] = n27;
  assign p[5] = n2;
  assign p[6] = n21;
  assign p[7] = 1'b1;
  assign p[8] = w[3];
  assign p[9] = n10;
  assign p[10] = 1'b1;
  assign p[11] = n10;
  assign p[12] = n26;
  assign p[13] = n32;
  assign p[14] = n38;
  assign p[15] = n40;
endmodule
